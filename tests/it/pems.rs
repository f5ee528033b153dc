//! The client of PEMS against the stand-in: what is written is read again, and no fault of an
//! answer is taken for an answer.

use crate::support::pems::TestPems;
use pfa_vanguard::domain::field::{Field, Kind};
use pfa_vanguard::domain::record::canonicalise;
use pfa_vanguard::fake_pems::{FakeOptions, Fault};
use pfa_vanguard::pems::{Credentials, FieldMap, GridFilter, PemsClient, PemsError, PemsOptions, PemsRecord};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Map, Value, json};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

fn numbered(count: usize) -> Vec<Map<String, Value>> {
    (0..count).map(|n| json!({"pfaId": format!("{n:04}"), "category": "Lifting", "monthlyRate": n}).as_object().unwrap().clone()).collect()
}

/// Every record, page by page.
async fn read_all(client: &PemsClient, filter: &GridFilter) -> Result<Vec<PemsRecord>, PemsError> {
    let head = client.read_head("A").await?;
    let (mut all, mut next) = (Vec::new(), Some(1));
    while let Some(cursor) = next {
        let page = client.read_page("A", &head, filter, cursor).await?;
        all.extend(page.records);
        next = page.next;
    }
    Ok(all)
}

fn ids(records: &[PemsRecord]) -> Vec<&str> {
    records.iter().map(|record| record.data["pfaId"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn pages_are_read_in_order_to_the_end_whatever_the_number_of_records() {
    let pems = TestPems::start().await;
    let client = pems.client();
    for count in [0, 1, 3, 4, 5, 8, 9] {
        pems.pems.with_records(|records| records.clear("A"));
        pems.put("A", &numbered(count));
        let read = read_all(&client, &GridFilter::All).await.unwrap();
        assert_eq!(ids(&read), (0..count).map(|n| format!("{n:04}")).collect::<Vec<_>>());
        assert_eq!(client.count_records("A", &GridFilter::All).await.unwrap(), count as u64);
    }
    assert!(read_all(&client, &GridFilter::All).await.unwrap().iter().all(|record| record.organization.as_deref() == Some("A")));
}

#[tokio::test]
async fn filters_find_ids_and_what_changed_since() {
    let pems = TestPems::start().await;
    pems.put("A", &numbered(10));
    let client = pems.client();
    let few = GridFilter::Ids(vec!["0003".into(), "0007".into(), "nobody".into()]);
    assert_eq!(ids(&read_all(&client, &few).await.unwrap()), ["0003", "0007"]);
    let head = client.read_head("A").await.unwrap();
    let stamp = client.read_record("A", &head, "0009").await.unwrap().unwrap().stamp.unwrap();
    pems.pems.with_records(|records| records.edit("A", "0002", json!({"category": "Pumps"}).as_object().unwrap()));
    assert_eq!(ids(&read_all(&client, &GridFilter::Since(stamp)).await.unwrap()), ["0002", "0009"]);
    assert_eq!(client.read_record("A", &head, "nobody").await.unwrap(), None);
}

fn value_of(field: Field) -> BoxedStrategy<Value> {
    match field.kind() {
        Kind::Text(_) => prop_oneof![Just(Value::Null), "[ -~äöü€]{0,30}[a-z]".prop_map(Value::from)].boxed(),
        Kind::Word(words) => proptest::sample::select(words).prop_map(Value::from).boxed(),
        Kind::Flag => any::<bool>().prop_map(Value::from).boxed(),
        Kind::Amount => (0_u64..99_999_999_999, 0_u32..=4)
            .prop_map(|(digits, scale)| {
                serde_json::from_str(&rust_decimal::Decimal::from_i128_with_scale(digits.into(), scale).normalize().to_string()).unwrap()
            })
            .boxed(),
        Kind::Date => prop_oneof![
            Just(Value::Null),
            (0_u64..380_000).prop_map(|days| {
                let first = chrono::NaiveDate::from_ymd_opt(1900, 1, 1).unwrap();
                json!((first + chrono::Days::new(days)).to_string())
            })
        ]
        .boxed(),
    }
}

/// What is written through the screen stands in the grid: texts, words, flags, amounts, dates and nulls.
#[test]
fn whatever_is_written_is_read_again() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (pems, client, head) = runtime.block_on(async {
        let pems = TestPems::start().await;
        pems.put("A", &numbered(1));
        let client = pems.client();
        let head = client.read_head("A").await.unwrap();
        (pems, client, head)
    });
    let written: Vec<_> = client.fields().write_names().map(|(field, _)| field).filter(|field| *field != Field::PfaId).collect();
    let changes = written.iter().map(|field| proptest::option::of(value_of(*field))).collect::<Vec<_>>();
    let config = ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() };
    TestRunner::new(config)
        .run(&changes, |values| {
            let changes: Map<_, _> =
                written.iter().zip(values).filter_map(|(field, value)| Some((field.key().to_owned(), value?))).collect();
            runtime.block_on(async {
                let before = client.read_record("A", &head, "0000").await.unwrap().unwrap();
                client.update_record("A", "0000", &changes).await.unwrap();
                let after = client.read_record("A", &head, "0000").await.unwrap().unwrap();
                let mut expected = canonicalise(before.data).unwrap().0.data;
                let canonical = canonicalise(with_id(changes.clone())).unwrap().0.data;
                expected.extend(canonical.into_iter().filter(|(key, _)| changes.contains_key(key)));
                let (record, findings) = canonicalise(after.data).unwrap();
                prop_assert_eq!(findings, []);
                for (key, value) in &record.data {
                    if !key.starts_with("has") {
                        prop_assert_eq!(value, &expected[key], "{}", key);
                    }
                }
                prop_assert!(after.stamp > before.stamp);
                Ok(())
            })
        })
        .unwrap();
    drop(pems);
}

/// The changes as a record, so that both sides are read by the same rules.
fn with_id(changes: Map<String, Value>) -> Map<String, Value> {
    let mut raw = changes;
    raw.insert("pfaId".into(), json!("0000"));
    raw
}

/// A reading is repeated when that can help, and what comes then is whole.
#[tokio::test]
async fn passing_faults_at_any_request_of_a_reading_are_overcome() {
    let pems = TestPems::start().await.impatient();
    pems.put("A", &numbered(10));
    let passing =
        [Fault::Status500, Fault::TooManyRequests { seconds: 0 }, Fault::Hang { seconds: 2 }, Fault::CutBody, Fault::ErrorEnvelope];
    for fault in passing {
        for number in 0..4 {
            pems.pems.reset();
            pems.pems.fail_request(number, fault);
            let read = read_all(&pems.client(), &GridFilter::All).await.unwrap();
            assert_eq!(read.len(), 10, "{fault:?} at {number}");
            assert_eq!(pems.pems.requests().len(), 5, "{fault:?} at {number}");
        }
    }
}

#[tokio::test]
async fn what_no_repetition_changes_is_told_at_once() {
    let pems = TestPems::start().await;
    pems.put("A", &numbered(3));
    let failing = |change: fn(&mut PemsOptions)| {
        let mut options = pems.options();
        change(&mut options);
        let client = PemsClient::new(options).unwrap();
        async move { read_all(&client, &GridFilter::All).await.unwrap_err().to_string() }
    };
    let password = failing(|options| {
        options.credentials = Credentials::Basic { username: "vanguard".into(), password: "tell-nobody".into() };
    });
    assert!(password.await.starts_with("PEMS refused the credentials"));
    assert!(failing(|options| options.credentials = Credentials::ApiKey("k".into())).await.starts_with("PEMS refused the credentials"));
    assert!(failing(|options| options.tenant = "OTHER".into()).await.starts_with("PEMS refused the credentials"));
    let grid = failing(|options| options.fields = FieldMap::parse("[names]\ngrid = 'NOPE'\ngridId = '1'\nscreen = 'X'").unwrap()).await;
    assert_eq!(grid, "PEMS refused: Grid NOPE is not a valid grid");
    let field = failing(|options| {
        options.fields = FieldMap::parse("[read]\npfs_id = 'pfaId'\npfs_colour = 'model'\npfs_lastmodified = 'pemsVersion'").unwrap();
    });
    assert!(field.await.contains("has no field pfs_colour"));
    // One request each: nothing was tried again.
    assert_eq!(pems.pems.requests().len(), 5);

    let mut options = pems.options();
    options.credentials = Credentials::Basic { username: "vanguard".into(), password: "tell-nobody".into() };
    assert!(!format!("{:?}", PemsClient::new(options).unwrap()).contains("tell-nobody"));
    let bad = PemsOptions { tenant: "a\nb".into(), ..pems.options() };
    assert!(PemsClient::new(bad).unwrap_err().to_string().contains("PFA_PEMS_TENANT"));
}

#[tokio::test]
async fn a_key_is_as_good_as_a_password() {
    let pems = TestPems::start().await;
    pems.put("A", &numbered(3));
    let key = pems.pems.options().api_key.clone();
    let client = PemsClient::new(PemsOptions { credentials: Credentials::ApiKey(key.clone().into()), ..pems.options() }).unwrap();
    assert_eq!(read_all(&client, &GridFilter::All).await.unwrap().len(), 3);
    assert!(!format!("{client:?}").contains(&key));
}

/// An answer without end is given up before it takes the memory of the service, and not asked for again.
#[tokio::test]
async fn an_answer_that_is_too_large_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/axis", listener.local_addr().unwrap()).parse().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            assert!(stream.read(&mut [0; 4_096]).await.unwrap() > 0, "a request");
            let chunk = [b"100000\r\n".to_vec(), vec![b' '; 0x0010_0000], b"\r\n".to_vec()].concat();
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
            while stream.write_all(&chunk).await.is_ok() {}
        }
    });
    let pems = TestPems::start().await;
    let client = PemsClient::new(PemsOptions { url, read_timeout: Duration::from_mins(1), ..pems.options() }).unwrap();
    let error = client.count_records("A", &GridFilter::All).await.unwrap_err();
    assert!(matches!(error, PemsError::TooLarge(most) if most < 200_000_000), "{error}");
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn an_address_where_nobody_answers_is_told_with_its_cause() {
    let pems = TestPems::start().await;
    let options = PemsOptions { url: "http://127.0.0.1:1/axis".parse().unwrap(), ..pems.options() };
    let error = PemsClient::new(options).unwrap().count_records("A", &GridFilter::All).await.unwrap_err();
    assert!(error.to_string().contains("refused") && error.is_passing(), "{error}");
}

#[tokio::test]
async fn writing_is_tried_once_and_refusals_have_their_reason() {
    let pems = TestPems::start().await.impatient();
    pems.put("A", &numbered(2));
    let client = pems.client();
    let update = async |id: &str, changes: Value| client.update_record("A", id, changes.as_object().unwrap()).await;
    for (id, changes, reason, is_passing) in [
        ("nobody", json!({"dor": "BEO"}), "PEMS refused: Record not found", false),
        ("0000", json!({"actualEnd": "2025-01-01"}), "actualEnd cannot be written to PEMS: the field map has no field for it", false),
        ("0000", json!({"dor": "elsewhere"}), "PEMS refused: PFS_F_DOR: not a valid value", false),
        ("0000", json!({"monthlyRate": -1}), "PEMS refused: PFS_F_RATE: not a valid value", false),
    ] {
        let error = update(id, changes).await.unwrap_err();
        assert_eq!((error.to_string().as_str(), error.is_passing()), (reason, is_passing));
    }
    for (fault, is_written) in
        [(Fault::Status500, false), (Fault::CutBody, true), (Fault::Hang { seconds: 2 }, true), (Fault::ErrorEnvelope, false)]
    {
        pems.pems.reset();
        pems.pems.fail_request(0, fault);
        update("0001", json!({"model": format!("{fault:?}")})).await.unwrap_err();
        assert_eq!(pems.pems.requests().len(), 1, "{fault:?}");
        let model = pems.pems.with_records(|records| records.text("A", "0001", Field::Model).to_owned());
        assert_eq!(model == format!("{fault:?}"), is_written, "{fault:?}");
    }
}

/// A client that keeps to the rate is never told that it is too fast.
#[tokio::test]
async fn the_rate_of_an_organization_is_kept() {
    let rate = NonZeroU32::new(25).unwrap();
    let pems = TestPems::start_with(FakeOptions { rate_per_second: Some(rate), ..FakeOptions::default() }).await;
    pems.put("A", &numbered(1));
    let client = PemsClient::new(PemsOptions { rate_per_second: rate, ..pems.options() }).unwrap();
    let started = Instant::now();
    let counts = (0..26).map(|_| client.count_records("A", &GridFilter::All));
    for count in futures_util::future::join_all(counts).await {
        assert_eq!(count, Ok(1));
    }
    assert!(started.elapsed() >= Duration::from_millis(990));
    assert_eq!(pems.pems.requests().len(), 26);
}
