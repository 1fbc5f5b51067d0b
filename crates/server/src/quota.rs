//! How much one identity may send over time. Rates are leaky buckets (GCRA, crate `governor`);
//! what is too much is refused with the time after which it would not be.

use std::num::NonZeroU32;
use std::time::Duration;

use exchange::{Reason, Refusal};
use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

use transport::Identity;
use transport::status::{QUOTA, RETRY_AFTER, SUBJECT};

/// So much each second on average, and so much at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Sustained.
    pub per_second: NonZeroU32,
    /// At once, after a time of rest.
    pub burst: NonZeroU32,
}

impl Rate {
    /// A rate; zeros count as one.
    pub const fn new(per_second: u32, burst: u32) -> Self {
        Self { per_second: at_least_one(per_second), burst: at_least_one(burst) }
    }
}

const fn at_least_one(number: u32) -> NonZeroU32 {
    match NonZeroU32::new(number) {
        Some(number) => number,
        None => NonZeroU32::MIN,
    }
}

/// What each identity may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quotas {
    /// Statements.
    pub statements: Rate,
    /// KiB of statements; each counts as at least one.
    pub statement_kib: Rate,
    /// Artifacts.
    pub artifacts: Rate,
    /// KiB of artifacts.
    pub artifact_kib: Rate,
}

impl Default for Quotas {
    /// A quarter of what one core takes, after a burst that holds a whole evaluation campaign;
    /// 64 MiB of artifacts a second after a burst of 1 GiB.
    fn default() -> Self {
        Self {
            statements: Rate::new(2_000, 100_000),
            statement_kib: Rate::new(16 << 10, 1 << 20),
            artifacts: Rate::new(200, 10_000),
            artifact_kib: Rate::new(64 << 10, 1 << 20),
        }
    }
}

type Limiter<C> =
    RateLimiter<Identity, HashMapStateStore<Identity>, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// The buckets of all identities.
pub(crate) struct Meters<C: Clock = DefaultClock> {
    statements: Limiter<C>,
    statement_kib: Limiter<C>,
    artifacts: Limiter<C>,
    artifact_kib: Limiter<C>,
    clock: C,
}

impl Meters {
    pub(crate) fn new(quotas: &Quotas) -> Self {
        Self::with_clock(quotas, DefaultClock::default())
    }
}

impl<C: Clock + Clone> Meters<C> {
    pub(crate) fn with_clock(quotas: &Quotas, clock: C) -> Self {
        let limiter = |rate: Rate| {
            let quota = Quota::per_second(rate.per_second).allow_burst(rate.burst);
            RateLimiter::hashmap_with_clock(quota, clock.clone())
        };
        Self {
            statements: limiter(quotas.statements),
            statement_kib: limiter(quotas.statement_kib),
            artifacts: limiter(quotas.artifacts),
            artifact_kib: limiter(quotas.artifact_kib),
            clock,
        }
    }

    /// `RATE_LIMITED`: one more statement of this many bytes.
    pub(crate) fn statement(&self, by: &Identity, bytes: usize) -> Result<(), Refusal> {
        self.charge(&self.statements, by, 1, "statements")?;
        self.charge(&self.statement_kib, by, kib(bytes), "statement_kib")
    }

    /// `RATE_LIMITED`: one more artifact.
    pub(crate) fn artifact(&self, by: &Identity) -> Result<(), Refusal> {
        self.charge(&self.artifacts, by, 1, "artifacts")
    }

    /// `RATE_LIMITED`: this many more bytes of an artifact.
    pub(crate) fn artifact_bytes(&self, by: &Identity, bytes: usize) -> Result<(), Refusal> {
        self.charge(&self.artifact_kib, by, kib(bytes), "artifact_kib")
    }

    /// Forgets identities whose buckets are full again.
    pub(crate) fn forget(&self) {
        for limiter in [&self.statements, &self.statement_kib, &self.artifacts, &self.artifact_kib]
        {
            limiter.retain_recent();
        }
    }

    fn charge(
        &self,
        limiter: &Limiter<C>,
        by: &Identity,
        amount: u32,
        quota: &'static str,
    ) -> Result<(), Refusal> {
        let amount = at_least_one(amount);
        match limiter.check_key_n(by, amount) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(until)) => {
                Err(exceeded(by, quota, Some(until.wait_time_from(self.clock.now()))))
            }
            Err(_) => Err(exceeded(by, quota, None)),
        }
    }
}

impl<C: Clock> std::fmt::Debug for Meters<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meters").finish_non_exhaustive()
    }
}

/// `RATE_LIMITED` with what the status is made of. Without a time, trying again is in vain.
pub(crate) fn exceeded(by: &Identity, quota: &'static str, retry: Option<Duration>) -> Refusal {
    let refusal = match retry {
        Some(after) => {
            // Rounded up, so that whoever waits this long is not refused again.
            let ms = after.as_millis() + 1;
            let message = format!("{by} has sent more than its quota of {quota}; wait {ms} ms");
            Refusal::new(Reason::RateLimited, message).with(RETRY_AFTER, ms)
        }
        None => {
            let message = format!("this is more than {by} may send at once: quota {quota}");
            Refusal::new(Reason::RateLimited, message)
        }
    };
    refusal.with(QUOTA, quota).with(SUBJECT, by)
}

fn kib(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use exchange::Reason;
    use governor::clock::FakeRelativeClock;

    use transport::Identity;

    use super::{Meters, QUOTA, Quotas, RETRY_AFTER, Rate};

    fn party(name: &str) -> Identity {
        Identity::Party(tlog::KeyName::parse(name).unwrap())
    }

    #[test]
    fn one_party_over_its_rate_does_not_touch_another() {
        let clock = FakeRelativeClock::default();
        let quotas = Quotas { statements: Rate::new(1, 2), ..Quotas::default() };
        let meters = Meters::with_clock(&quotas, clock.clone());
        let (a, b) = (party("a.example"), party("b.example"));
        meters.statement(&a, 10).unwrap();
        meters.statement(&a, 10).unwrap();
        let refusal = meters.statement(&a, 10).unwrap_err();
        assert_eq!(refusal.reason(), Reason::RateLimited);
        assert_eq!(refusal.value(QUOTA), Some("statements"));
        meters.statement(&b, 10).unwrap();

        let wait = refusal.value(RETRY_AFTER).unwrap().parse().unwrap();
        clock.advance(Duration::from_millis(wait));
        meters.statement(&a, 10).expect("after the time that was named it is taken");
        assert!(meters.statement(&a, 10).is_err());
    }

    #[test]
    fn bytes_count_by_themselves_and_more_than_a_burst_is_never_taken() {
        let quotas = Quotas { artifact_kib: Rate::new(1, 4), ..Quotas::default() };
        let meters = Meters::with_clock(&quotas, FakeRelativeClock::default());
        let a = party("a.example");
        meters.artifact_bytes(&a, 4 << 10).unwrap();
        assert!(meters.artifact_bytes(&a, 1).unwrap_err().value(RETRY_AFTER).is_some());
        let hopeless = meters.artifact_bytes(&a, (4 << 10) + 1).unwrap_err();
        assert_eq!(hopeless.value(RETRY_AFTER), None);
    }

    #[test]
    fn identities_at_rest_are_forgotten() {
        let clock = FakeRelativeClock::default();
        let meters = Meters::with_clock(&Quotas::default(), clock.clone());
        for number in 0..100 {
            meters.artifact(&party(&format!("p{number}.example"))).unwrap();
        }
        assert_eq!(meters.artifacts.len(), 100);
        clock.advance(Duration::from_secs(60));
        meters.forget();
        assert_eq!(meters.artifacts.len(), 0);
    }
}
