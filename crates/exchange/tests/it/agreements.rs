//! The terms of an agreement must fit together.

use exchange::{Predicate, Reason, Statement};

use crate::vectors::Vectors;

fn payload() -> String {
    Vectors::read().entries()[4].text("payload").to_owned()
}

const PARTY_B: &str = r#""claims":[{"id":"c1""#;
const RULES: &str = r#""disclosure":["#;
const CLAIMS: &str = r#""claims":["#;

fn rule(members: &str) -> String {
    format!(r#"{RULES}{{"id":"r9",{members}}},"#)
}

#[test]
fn refuses_terms_that_contradict_each_other() {
    let escrow = |auditor: &str, rules: &str| {
        format!(r#""escrow":{{"auditor":"{auditor}","rules":{rules}}},"audit":{{"#)
    };
    let claim = |members: &str| format!(r#"{CLAIMS}{{"id":"c9",{members}}},"#);
    let cases: &[(&str, String, &str)] = &[
        (
            r#""name":"auditor.example","key""#,
            r#""name":"lab-b.example","key""#.into(),
            "/predicate/parties",
        ),
        ("quorum clock", "quorum none2".into(), "/predicate/policy"),
        (
            "policy\":\"log log.example/one+5583351b+Ad+3SR1UbAVmtsYS1OZHrMtdbg+R9ILkbPb6yF+qqNK/\\n",
            "policy\":\"".into(),
            "/predicate/policy",
        ),
        (r#""clock":"clock""#, r#""clock":"sundial""#.into(), "/predicate/clock"),
        (r#""epochs":1"#, r#""epochs":3"#.into(), "/predicate/evaluation/items"),
        (
            r#""name":"grade","max":2"#,
            r#""name":"grade","max":536870912"#.into(),
            "/predicate/evaluation/columns/1/max",
        ),
        (
            r#""accept_by":"2026-03-02T09:00:00Z""#,
            r#""accept_by":"2026-03-05T09:00:00Z""#.into(),
            "/predicate/schedule",
        ),
        (r#""reveal_by":"2026-03-06"#, r#""reveal_by":"2026-03-04"#.into(), "/predicate/schedule"),
        (r#""audit_by":"2026-03-11T09:00:00Z","#, String::new(), "/predicate/schedule"),
        (r#""audit_by":"2026-03-11"#, r#""audit_by":"2026-03-06"#.into(), "/predicate/schedule"),
        (
            RULES,
            rule(
                r#""what":"totals","by":"lab-c.example","to":"peer","from":"committed","items":0,"risk":"none","owed":true"#,
            ),
            "/predicate/disclosure/0/by",
        ),
        (
            RULES,
            rule(
                r#""what":"totals","by":"auditor.example","to":"peer","from":"committed","items":0,"risk":"none","owed":true"#,
            ),
            "/predicate/disclosure/0/by",
        ),
        (
            RULES,
            rule(
                r#""what":"totals","by":"both","to":"auditor:lab-a.example","from":"committed","items":0,"risk":"none","owed":true"#,
            ),
            "/predicate/disclosure/0/to",
        ),
        (
            RULES,
            rule(
                r#""what":"score:speed","by":"both","to":"peer","from":"committed","items":1,"risk":"none","owed":false"#,
            ),
            "/predicate/disclosure/0/what",
        ),
        (
            CLAIMS,
            claim(r#""kind":"at_least","column":"speed","q":1,"by":"lab-a.example""#),
            "/predicate/claims/0/column",
        ),
        (
            CLAIMS,
            claim(r#""kind":"at_least","column":"grade","q":9,"by":"lab-a.example""#),
            "/predicate/claims/0",
        ),
        (
            CLAIMS,
            claim(r#""kind":"between","column":"grade","p":3,"q":2,"by":"lab-a.example""#),
            "/predicate/claims/0",
        ),
        (
            CLAIMS,
            claim(r#""kind":"at_least","column":"grade","q":1,"by":"auditor.example""#),
            "/predicate/claims/0/by",
        ),
        (
            CLAIMS,
            claim(r#""kind":"equal","column":"grade","by":"lab-c.example""#),
            "/predicate/claims/0/by",
        ),
        // The totals of each lab reach the auditor, not the other lab.
        (
            CLAIMS,
            claim(r#""kind":"equal","column":"grade","by":"lab-a.example""#),
            "/predicate/claims/0",
        ),
        (
            r#""id":"r1","what":"totals","by":"both""#,
            r#""id":"r1","what":"totals","by":"lab-a.example""#.into(),
            "/predicate/claims/2",
        ),
        (
            r#""risk":"none","owed":true"#,
            r#""risk":"none","owed":false"#.into(),
            "/predicate/claims/2",
        ),
        (
            r#""what":"claim","by":"both""#,
            r#""what":"claim","by":"lab-a.example""#.into(),
            "/predicate/claims/1",
        ),
        (
            r#""audit":{"auditor":"auditor.example""#,
            r#""audit":{"auditor":"lab-a.example""#.into(),
            "/predicate/audit/auditor",
        ),
        (
            r#""audit":{"auditor":"auditor.example","column":"accuracy""#,
            r#""audit":{"auditor":"auditor.example","column":"speed""#.into(),
            "/predicate/audit/column",
        ),
        (r#""first":2,"largest":3"#, r#""first":4,"largest":3"#.into(), "/predicate/audit/first"),
        (r#""audit":{"#, escrow("lab-a.example", r#"["r1"]"#), "/predicate/escrow/auditor"),
        (r#""audit":{"#, escrow("auditor.example", r#"["r1","r7"]"#), "/predicate/escrow/rules/1"),
        (r#""audit":{"#, escrow("auditor.example", r#"["r3"]"#), "/predicate/escrow/rules/0"),
    ];
    for (from, to, pointer) in cases {
        let payload = payload();
        assert!(payload.contains(from), "{from}");
        let refusal = Statement::parse(payload.replacen(from, to, 1).as_bytes()).expect_err(to);
        assert_eq!(refusal.reason(), Reason::BadAgreement, "{to}: {refusal}");
        assert_eq!(refusal.pointer(), Some(*pointer), "{to}: {refusal}");
    }
}

#[test]
fn refuses_members_that_break_a_rule_of_their_own() {
    let cases: &[(&str, String, &str)] = &[
        (r#""parties":["#, r#""parties":[{"name":"x"},"#.into(), "/predicate/parties"),
        (r#""max":2,"raw_max":1"#, r#""max":0,"raw_max":1"#.into(), "/predicate/evaluation/columns/1/max"),
        (r#""items":4"#, r#""items":1048577"#.into(), "/predicate/evaluation/items"),
        (r#""benchmark":{"#, r#""benchmark":{"name":"gsm8k","#.into(), "/predicate/evaluation/benchmark"),
        (r#""budget":2"#, r#""budget":1001"#.into(), "/predicate/runs/budget"),
        (r#""counts":"first""#, r#""counts":"best""#.into(), "/predicate/runs/counts"),
        (r#""step":86400"#, r#""step":59"#.into(), "/predicate/schedule/step"),
        (r#""step":86400"#, r#""step":31536001"#.into(), "/predicate/schedule/step"),
        (r#""id":"r2""#, r#""id":"r1""#.into(), "/predicate/disclosure/1"),
        (r#""id":"c2""#, r#""id":"c1""#.into(), "/predicate/claims/1"),
        (r#""what":"field:output""#, r#""what":"field:tag""#.into(), "/predicate/disclosure/2/what"),
        (r#""what":"field:output""#, r#""what":"field:score:grade""#.into(), "/predicate/disclosure/2/what"),
        (r#""what":"field:output""#, r#""what":"output""#.into(), "/predicate/disclosure/2/what"),
        (r#""what":"totals","by":"both","to":"auditor:auditor.example""#, r#""what":"totals","by":"both","to":"auditor""#.into(), "/predicate/disclosure/0/to"),
        (r#""from":"revealed","items":3,"risk":"sensitive","owed":false"#, r#""from":"revealed","items":3,"risk":"sensitive","owed":true"#.into(), "/predicate/disclosure/2/owed"),
        (r#""what":"totals","by":"both","to":"auditor:auditor.example","from":"committed","items":0"#, r#""what":"totals","by":"both","to":"auditor:auditor.example","from":"committed","items":1"#.into(), "/predicate/disclosure/0/items"),
        (RULES, rule(r#""what":"counts","by":"both","to":"peer","from":"agreed","items":0,"risk":"none","owed":false"#), "/predicate/disclosure/0/from"),
        (RULES, rule(r#""what":"totals","by":"both","to":"public","from":"agreed","items":0,"risk":"none","owed":false"#), "/predicate/disclosure/0/from"),
        (RULES, rule(r#""what":"claim","by":"both","to":"peer","from":"committed","items":0,"risk":"none","owed":false"#), "/predicate/disclosure/0/to"),
        (r#""delta":[1,20]"#, r#""delta":[0,20]"#.into(), "/predicate/audit/delta"),
        (r#""delta":[1,20]"#, r#""delta":[1,0]"#.into(), "/predicate/audit/delta"),
        (r#""alpha":[1,10]"#, r#""alpha":[10,10]"#.into(), "/predicate/audit/alpha"),
        (r#""gamma":[9,10]"#, r#""gamma":[11,10]"#.into(), "/predicate/audit/gamma"),
        (r#""gamma":[9,10]"#, r#""gamma":[9]"#.into(), "/predicate/audit/gamma"),
        (r#""largest":3"#, r#""largest":2049"#.into(), "/predicate/audit/largest"),
        (r#""attempts":2"#, r#""attempts":0"#.into(), "/predicate/audit/attempts"),
        (r#""audit":{"#, r#""escrow":{"auditor":"auditor.example","rules":[]},"audit":{"#.into(), "/predicate/escrow/rules"),
        (r#"},{"name":"lab-b.example""#, r#","witness":"x"},{"name":"lab-b.example""#.into(), "/predicate/parties/0/witness"),
        (r#"},{"name":"lab-b.example""#, r#","witness":"log.example/one+5583351b+Ad+3SR1UbAVmtsYS1OZHrMtdbg+R9ILkbPb6yF+qqNK/"},{"name":"lab-b.example""#.into(), "/predicate/parties/0/witness"),
    ];
    for (from, to, pointer) in cases {
        let payload = payload();
        assert!(payload.contains(from), "{from}");
        let refusal = Statement::parse(payload.replacen(from, to, 1).as_bytes()).expect_err(to);
        assert_eq!(refusal.reason(), Reason::BadField, "{to}: {refusal}");
        assert_eq!(refusal.pointer(), Some(*pointer), "{to}: {refusal}");
    }
    // The signer proposes, so it comes first.
    let swapped =
        payload().replacen(r#""signer":"lab-a.example""#, r#""signer":"lab-b.example""#, 1);
    let refusal = Statement::parse(swapped.as_bytes()).unwrap_err();
    assert_eq!(refusal.pointer(), Some("/predicate/parties"));
}

#[test]
fn accepts_terms_of_every_form() {
    let cases = [
        (r#""gamma":[9,10]"#, r#""gamma":[1,1]"#.to_owned()),
        (r#""benchmark":{"commitment":"b3b827a9618e2c9619ad8d718b36200650625ccdb1986c14d6f17985c2bab0f5"}"#, r#""benchmark":{"name":"GSM8K (main)"}"#.to_owned()),
        (r#"},{"name":"lab-b.example""#, r#","witness":"clock.example+c894d881+BILK+46LAwG7I8Ceo/O7wXpsrFHUTusHZyiVF5JU1kga"},{"name":"lab-b.example""#.to_owned()),
        (RULES, rule(r#""what":"counts","by":"both","to":"public","from":"agreed","items":0,"risk":"none","owed":true"#)),
        (RULES, rule(r#""what":"score:grade","by":"lab-b.example","to":"peer","from":"revealed","items":2,"risk":"harm","owed":false"#)),
        (PARTY_B, format!(r#"{CLAIMS}{{"id":"c9","kind":"between","column":"grade","p":0,"q":8,"by":"lab-b.example"}},{{"id":"c1""#)),
        (r#""what":"totals","by":"both","to":"auditor:auditor.example""#, r#""what":"totals","by":"both","to":"public""#.to_owned()),
    ];
    for (from, to) in cases {
        let payload = payload();
        assert!(payload.contains(from), "{from}");
        let changed = payload.replacen(from, &to, 1);
        let statement = Statement::parse(changed.as_bytes()).expect(&to);
        assert_eq!(Statement::parse(&statement.to_payload()), Ok(statement));
    }
    // Escrow comes last.
    let with_escrow = payload().replacen(
        "\"attempts\":2}}}",
        r#""attempts":2},"escrow":{"auditor":"auditor.example","rules":["r1"]}}}"#,
        1,
    );
    let statement = Statement::parse(with_escrow.as_bytes()).unwrap();
    assert_eq!(String::from_utf8(statement.to_payload()).unwrap(), with_escrow);
    let Predicate::Agreement(agreement) = statement.predicate() else { panic!("an agreement") };
    assert_eq!(agreement.escrow.as_ref().unwrap().rules.len(), 1);
}

#[test]
fn amendments_change_one_thing() {
    let payload = Vectors::read().entries()[6].text("payload").to_owned();
    let start = payload.find(r#""accept_by":"2026-03-03"#).unwrap();
    let with =
        |change: &str| Statement::parse(format!("{}{change}}}}}", &payload[..start]).as_bytes());
    for good in [
        r#""waives":["reveal:lab-b.example:r1","commit:lab-b.example"]"#,
        r#""restricts":["r1"]"#,
        r#""accept_by":"2026-03-03T09:00:00Z","disclosure":[]"#,
    ] {
        let statement = with(good).expect(good);
        assert_eq!(Statement::parse(&statement.to_payload()), Ok(statement));
    }
    for (bad, pointer) in [
        (r#""accept_by":"2026-03-03T09:00:00Z""#, "/predicate"),
        (r#""disclosure":[]"#, "/predicate/accept_by"),
        (r#""waives":[]"#, "/predicate/waives"),
        (r#""waives":["commit:a","commit:a"]"#, "/predicate/waives/1"),
        (r#""waives":["pay:a"]"#, "/predicate/waives/0"),
        (r#""waives":["commit:"]"#, "/predicate/waives/0"),
        (r#""restricts":["r1"],"waives":["commit:a"]"#, "/predicate/restricts"),
        (r#""restricts":["R"]"#, "/predicate/restricts/0"),
    ] {
        let refusal = with(bad).expect_err(bad);
        assert_eq!(refusal.reason(), Reason::BadField, "{bad}: {refusal}");
        assert_eq!(refusal.pointer(), Some(pointer), "{bad}: {refusal}");
    }
    let late = payload.replacen(r#""commit_by":"2026-03-05"#, r#""commit_by":"2026-03-07"#, 1);
    let refusal = Statement::parse(late.as_bytes()).unwrap_err();
    assert_eq!(refusal.reason(), Reason::BadAgreement);
}
