//! A program that drives a move dies at each edge: another one goes on, or cancels, and nothing is lost or left.

use crate::fixture::Moving;
use shardgate_catalog::moves::{self, EDGES, PartsSpec, Step};
use std::sync::Arc;

/// Drives the move until it comes to the edge. False: it did not.
async fn die_at(moving: &Moving, id: i64, edge: &'static str, until: Step) -> bool {
    let home = moving.cluster.servers[0].connect().await;
    let mut home = home.watched(Some(Arc::new(move |passed| {
        // As after SIGKILL, nothing more is done, and all connections end.
        assert_ne!(passed, edge, "killed");
    })));
    let driven =
        tokio::spawn(async move { moves::advance(&mut home, id, until).await.map(|_| ()) });
    match driven.await {
        Ok(ended) => {
            ended.unwrap();
            false
        }
        Err(error) => {
            assert!(error.is_panic());
            // The lease of the dead is over after some time.
            moving
                .cluster
                .home
                .execute(
                    "UPDATE shardgate.move SET lease = NULL WHERE id = $1",
                    &[&id],
                )
                .await
                .unwrap();
            true
        }
    }
}

/// Each edge that lies on the way through the steps; `end` is what the next program does.
async fn at_each_edge(way: &[Step], end: impl Fn(Step) -> Vec<Step>) {
    let mut moving = Moving::filled().await;
    let all = moving.all_rows().await;
    let mut met = Vec::new();
    let mut to = 2;
    for edge in EDGES
        .iter()
        .copied()
        .filter(|edge| !edge.starts_with("move-start") || edge.contains("stream"))
    {
        let parts = PartsSpec::Buckets(moving.buckets_of(3 - to).await);
        let id = moving.begin(parts, &format!("s{to}")).await.unwrap();
        let mut died = false;
        for until in way {
            if die_at(&moving, id, edge, *until).await {
                died = true;
                break;
            }
        }
        if died {
            met.push(edge);
        }
        moves::recover(moving.home()).await.unwrap();
        let step = moves::status(moving.home(), id).await.unwrap().step;
        for until in end(step) {
            moving.advance(id, until).await.unwrap_or_else(|error| {
                panic!("{edge}, then {step}, to {until}: {:?}", error.pg())
            });
        }
        assert_eq!(moving.all_rows().await, all, "{edge}");
        moving.nothing_left().await;
        if moving.buckets_of(to).await.len() == 16 {
            to = 3 - to;
        }
    }
    println!("died at {}", met.join(" "));
    let missed: Vec<_> = EDGES.iter().filter(|edge| !met.contains(edge)).collect();
    println!("never came to {missed:?}");
    assert!(met.len() > 20, "{met:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_program_completes_what_one_left_at_any_edge() {
    at_each_edge(&[Step::Verified, Step::Switched, Step::Completed], |step| {
        if step == Step::Completed {
            vec![]
        } else {
            vec![Step::Completed]
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_program_cancels_what_one_left_at_any_edge() {
    let way = [
        Step::Verified,
        Step::Switched,
        Step::Reversed,
        Step::Cancelled,
    ];
    at_each_edge(&way, |step| match step {
        Step::Cancelled => vec![],
        Step::Switched | Step::Moved => vec![Step::Reversed, Step::Cancelled],
        _ => vec![Step::Cancelled],
    })
    .await;
}
