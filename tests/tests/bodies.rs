//! Large bodies, many at once: each sender is told what became of its own, and memory stays within bounds.

use bytes::Bytes;
use futures_util::future::join_all;
use http::Method;
use serde_json::json;
use tollgate_tests::http::Http;
use tollgate_tests::{Stack, StackConfig, on_each_engine};

const INTAKE: &str = "/subscriptions/internal/stripe-webhook";

/// Takes half a minute in an unoptimised build.
mod long {
    use super::*;

    const SENDERS: usize = 40;
    const PAD_BYTES: usize = 30 << 20;

    on_each_engine!(forty_of_the_largest_bodies_at_once_are_each_answered, async |engine| {
        let stack = Stack::spawn(StackConfig::on(engine).backend("RUST_LOG", "info")).await;
        let key = [("x-internal-api-key", &*stack.secrets.internal)];
        let pad = "x".repeat(PAD_BYTES);
        let senders = (0..SENDERS).map(|number| {
            let (url, event) = (stack.private(INTAKE), format!(r#"{{"id":"evt_{number}","type":"x","pad":"{pad}"}}"#));
            // A client each, and so a connection each.
            async move { Http::default().try_send(Method::POST, &url, &key, Bytes::from(event)).await }
        });
        let mut taken = 0;
        for (number, answer) in join_all(senders).await.into_iter().enumerate() {
            let answer = answer.unwrap_or_else(|error| panic!("sender {number} was not answered: {error:?}"));
            if answer.status == 200 {
                assert_eq!(answer.json()["outcome"], json!("ignored"), "{number}");
                taken += 1;
                continue;
            }
            // The other code is that of a machine which is too busy to write one that had room.
            let code = answer.error_code();
            assert!(answer.status == 503 && ["overloaded", "database_unavailable"].contains(&&*code), "{answer:?}");
            assert!(answer.header("retry-after").is_some(), "{answer:?}");
            if code == "overloaded" {
                assert_eq!(stack.event(&format!("evt_{number}")).await, None, "what was refused is not stored");
            }
        }
        assert!(taken > 0, "some of them have room");
        let peak = stack.backends[0].memory_bytes_peak();
        assert!(peak < (SENDERS * PAD_BYTES / 2) as u64, "{} MiB, where {taken} were taken", peak >> 20);
    });
}
