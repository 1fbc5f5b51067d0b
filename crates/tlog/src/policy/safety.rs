//! What a policy withstands: how many corrupt witnesses, how many silent ones, and whether one
//! owner decides alone.
//!
//! Two readers can be shown two histories only if each side has a quorum, and an honest witness
//! never cosigns both sides. So a policy is safe from a set of corrupt witnesses exactly if no two
//! quorums meet inside that set. A name is a member of at most one group, so the groups are a tree
//! and its members can be looked at one by one: all answers here are exact, for nested groups too,
//! in time linear in the policy.

use std::collections::BTreeMap;

use super::{Group, Member, Policy, PolicyWitness};

/// Two quorums, and the witnesses that are in both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split<'p> {
    /// One side of a split view.
    pub a: Vec<&'p PolicyWitness>,
    /// The other side.
    pub b: Vec<&'p PolicyWitness>,
    /// Who must have cosigned both.
    pub both: Vec<&'p PolicyWitness>,
}

/// The least that a member needs: one quorum, and two that have as little in common as any two.
#[derive(Debug, Clone, Default)]
struct Least {
    quorum: Vec<usize>,
    pair: (Vec<usize>, Vec<usize>),
    /// Witnesses that count in both quorums of the pair.
    shared: usize,
}

impl Policy {
    /// True if the witnesses for which `has` holds are a quorum of the member.
    pub fn is_quorum(&self, member: Member, has: impl Fn(&PolicyWitness) -> bool) -> bool {
        self.time_of(member, |witness| has(witness).then_some(1)).is_some()
    }

    /// Two quorums of a member with as few witnesses in common as any two have, where those that
    /// are `corrupt` count for nothing. If nobody else is in both, these witnesses and the log can
    /// show two histories.
    pub fn split(&self, member: Member, corrupt: impl Fn(&PolicyWitness) -> bool) -> Split<'_> {
        let witnesses = self.witnesses();
        let witness = |index: usize| Least {
            quorum: vec![index],
            pair: (vec![index], vec![index]),
            shared: usize::from(witnesses.get(index).is_some_and(|witness| !corrupt(witness))),
        };
        let least = self.evaluate(member, witness, least_of_group).unwrap_or_default();
        let (a, b) = least.pair;
        let both = a.iter().copied().filter(|index| b.contains(index)).collect();
        let of = |mut indices: Vec<usize>| {
            indices.sort_unstable();
            indices.into_iter().filter_map(|index| witnesses.get(index)).collect()
        };
        Split { a: of(a), b: of(b), both: of(both) }
    }

    /// How many witnesses may fall silent, whichever they are, before no quorum of the member can
    /// be had any more.
    pub fn silence(&self, member: Member) -> usize {
        let fewest = self.evaluate(
            member,
            |_| 1_usize,
            |group, mut fewest| {
                // It takes this many members that can't agree, and the cheapest are chosen.
                fewest.sort_unstable();
                let members = group.members().len() - group.threshold() + 1;
                fewest.into_iter().take(members).sum()
            },
        );
        fewest.unwrap_or(1) - 1
    }

    /// How many minimal quorums a member has; `u64::MAX` stands for as many or more.
    pub fn minimal_quorums(&self, member: Member) -> u64 {
        let count = self.evaluate(
            member,
            |_| 1_u64,
            |group, counts| {
                // ways[k]: how many ways there are to choose quorums of k members.
                let mut ways = vec![0_u64; group.threshold() + 1];
                ways[0] = 1;
                for count in counts {
                    for k in (1..ways.len()).rev() {
                        let more = ways[k - 1].saturating_mul(count);
                        ways[k] = ways[k].saturating_add(more);
                    }
                }
                ways[group.threshold()]
            },
        );
        count.unwrap_or(0)
    }

    /// Who owns which witness, as the policy's comments say: `# owner <witness> <owner>`. Other
    /// programs skip the lines. A line about a name that is no witness's, or a second one about a
    /// witness, is an error, given by its number.
    pub fn owners(&self) -> Result<BTreeMap<&[u8], &[u8]>, usize> {
        let mut owners = BTreeMap::new();
        for (number, line) in (1..).zip(self.text().split(|byte| *byte == b'\n')) {
            let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
            let words: Vec<&[u8]> = line.split(blank).filter(|word| !word.is_empty()).collect();
            let [b"#", b"owner", rest @ ..] = words.as_slice() else { continue };
            let [name, owner] = rest else { return Err(number) };
            let known = matches!(self.member(name), Some(Member::Witness(_)));
            if !known || owners.insert(*name, *owner).is_some() {
                return Err(number);
            }
        }
        Ok(owners)
    }
}

/// Both sides choose `threshold` members. They can't avoid `2 · threshold − members` of them, and
/// meet in those whose own quorums have the least in common; of every other they need one quorum.
fn least_of_group(group: &Group, mut members: Vec<Least>) -> Least {
    let threshold = group.threshold();
    let common = (2 * threshold).saturating_sub(members.len());
    members.sort_by_key(|member| member.shared);
    let (shared, apart) = members.split_at(common);
    let mut least = Least::default();
    for member in shared {
        least.pair.0.extend(&member.pair.0);
        least.pair.1.extend(&member.pair.1);
        least.shared += member.shared;
    }
    let (one, other) = (&apart[..threshold - common], &apart[threshold - common..]);
    least.pair.0.extend(one.iter().flat_map(|member| &member.quorum));
    let other = other.iter().take(threshold - common);
    least.pair.1.extend(other.flat_map(|member| &member.quorum));
    members.sort_by_key(|member| member.quorum.len());
    let chosen = members.iter().take(threshold);
    least.quorum = chosen.flat_map(|member| member.quorum.iter().copied()).collect();
    least
}
