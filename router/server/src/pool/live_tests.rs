//! The pool's rules against a real server: who gets what, who waits, and that nothing is ever lost.

use super::*;
use crate::backend::Link;
use crate::health::live_tests::{
    SHARD, Server, command, folder, free_port, options, run, snapshot,
};
use crate::mailbox::{Letter, Refusal};
use crate::registry::{Client, Clients, Registered};
use std::collections::BTreeSet;
use std::future::poll_fn;
use std::task::Poll;
use tokio::sync::watch;
use tokio_postgres::Client as Admin;

const SIZE: usize = 2;

/// A pool of two, with the clients that use it.
struct Scene {
    pools: Pools,
    pool: Arc<Pool>,
    clients: Arc<Clients>,
    admin: Admin,
}

impl Scene {
    fn client(&self) -> Registered {
        let address = "127.0.0.1:1".parse().unwrap();
        self.clients
            .register(1, (address, None), "postgres".into(), "postgres".into())
            .unwrap()
    }

    fn checkout(&self, client: &Registered, names: &[&str]) -> Checkout {
        let names: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let want = Want {
            client: client.client(),
            names: &names,
            settings_hash: 0,
            lane: crate::lanes::MAIN,
            patient: true,
        };
        self.pool.checkout(&want)
    }

    /// Waits for a connection, at once or by letter.
    async fn take(&self, client: &Registered, names: &[&str]) -> Box<Link> {
        match self.checkout(client, names) {
            Checkout::Link(link) => link,
            Checkout::Queued(ticket) => match letter(client.client()).await {
                Letter::Link { ticket: got, link } if got == ticket => link,
                _ => panic!("another letter than the one with the connection"),
            },
            Checkout::Refused(refusal) => panic!("{refusal:?}"),
        }
    }

    fn counts(&self) -> (usize, usize, usize) {
        let facts = self
            .pools
            .facts()
            .into_iter()
            .find(|facts| Arc::ptr_eq(&facts.pool, &self.pool))
            .unwrap();
        (facts.in_use, facts.idle, facts.waiting)
    }

    async fn terminate(&self, pid: u32) {
        let pid = i32::try_from(pid).unwrap();
        // It returns when the process has ended, so its last words are in the socket.
        let gone = self
            .admin
            .query_one("SELECT pg_terminate_backend($1, 10000)", &[&pid])
            .await
            .unwrap();
        assert!(gone.get::<_, bool>(0));
    }
}

async fn letter(client: &Client) -> Letter {
    poll_fn(|context| {
        client.mailbox.register(context.waker());
        let signals = client.mailbox.take();
        client
            .mailbox
            .letter(signals)
            .map_or(Poll::Pending, Poll::Ready)
    })
    .await
}

fn pid(link: &Link) -> u32 {
    link.info.pid
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_shared_and_never_lost() {
    let folder = folder();
    let data = folder.path().join("one");
    run(command("initdb").arg("-D").arg(&data).args([
        "-U",
        "postgres",
        "-A",
        "trust",
        "-N",
        "--locale=C",
        "-E",
        "UTF8",
    ]));
    let server = Server::start(data, free_port());
    let admin = server.client().await;
    let (_sender, snapshots) = watch::channel(snapshot(vec![server.host()]));
    let (health, monitor) = Health::start(options(), snapshots);
    let endpoint = health
        .wait_primary(SHARD, Instant::now() + Duration::from_secs(60))
        .await
        .unwrap();
    let context = Context {
        size: SIZE,
        query_wait_timeout: Duration::from_secs(60),
        server_idle_timeout: None,
        server_lifetime: None,
        server_connect_timeout: Duration::from_secs(20),
        admin: (String::new(), None),
        health,
        metrics: Arc::default(),
        fence: None,
        runtime: tokio::runtime::Handle::current(),
        tickets: AtomicU64::new(1),
        crowded: Mutex::default(),
    };
    let pools = Pools::new(context);
    let role = pools.of_role(&"postgres".into(), None);
    let pool = role.pool(&endpoint, &"postgres".into());
    let scene = Scene {
        pools,
        pool,
        clients: Arc::new(Clients::new(1)),
        admin,
    };

    first_come_first_served(&scene).await;
    who_gives_up_leaves_nothing_behind(&scene).await;
    an_ended_connection_is_not_handed_out(&scene).await;
    foreign_settings_do_not_fit(&scene).await;
    time_refuses_and_renewal_closes(&scene).await;
    a_missing_database_is_said_in_the_servers_words(&scene, &endpoint).await;
    monitor.stop().await;
}

async fn first_come_first_served(scene: &Scene) {
    let clients: Vec<Registered> = (0..4).map(|_| scene.client()).collect();
    let first = scene.take(&clients[0], &[]).await;
    let second = scene.take(&clients[1], &[]).await;
    assert_ne!(pid(&first), pid(&second));
    let waits: Vec<Checkout> = clients[2..]
        .iter()
        .map(|client| scene.checkout(client, &[]))
        .collect();
    assert!(waits.iter().all(|wait| matches!(wait, Checkout::Queued(_))));
    assert_eq!(scene.counts(), (2, 0, 2));
    let given = pid(&first);
    scene.pool.give(first);
    let Letter::Link { link, .. } = letter(clients[2].client()).await else {
        panic!("no connection")
    };
    assert_eq!(pid(&link), given);
    // A place that becomes free by a close serves the queue just as well.
    drop(second);
    let Letter::Link { link: last, .. } = letter(clients[3].client()).await else {
        panic!("no connection")
    };
    assert_eq!(scene.counts(), (2, 0, 0));
    scene.pool.give(link);
    scene.pool.give(last);
    assert_eq!(scene.counts(), (0, 2, 0));
}

async fn who_gives_up_leaves_nothing_behind(scene: &Scene) {
    let (one, two, three) = (scene.client(), scene.client(), scene.client());
    let (first, second) = (scene.take(&one, &[]).await, scene.take(&one, &[]).await);
    let Checkout::Queued(ticket) = scene.checkout(&two, &[]) else {
        panic!("the pool is larger than its size")
    };
    scene.pool.abandon(ticket);
    assert_eq!(scene.counts(), (2, 0, 0));
    // A client that has ended without leaving the queue: the connection goes to the next.
    assert!(matches!(scene.checkout(&two, &[]), Checkout::Queued(_)));
    two.client().mailbox.close();
    assert!(matches!(scene.checkout(&three, &[]), Checkout::Queued(_)));
    scene.pool.give(first);
    let Letter::Link { link, .. } = letter(three.client()).await else {
        panic!("no connection")
    };
    scene.pool.give(link);
    scene.pool.give(second);
    assert_eq!(scene.counts(), (0, 2, 0));
}

async fn an_ended_connection_is_not_handed_out(scene: &Scene) {
    let client = scene.client();
    let (first, second) = (
        scene.take(&client, &[]).await,
        scene.take(&client, &[]).await,
    );
    let (dead, alive) = (pid(&first), pid(&second));
    scene.pool.give(second);
    scene.pool.give(first);
    scene.terminate(dead).await;
    // It was used last, so it would be the one.
    let link = scene.take(&client, &[]).await;
    assert_eq!(pid(&link), alive);
    scene.terminate(pid(&link)).await;
    scene.pool.give(link);
    scene.pool.look_at_idle();
    assert_eq!(scene.counts(), (0, 0, 0));
}

async fn foreign_settings_do_not_fit(scene: &Scene) {
    let client = scene.client();
    let (mut first, mut second) = (
        scene.take(&client, &["app.x"]).await,
        scene.take(&client, &["app.x"]).await,
    );
    for link in [&mut first, &mut second] {
        link.state
            .as_mut()
            .unwrap()
            .custom_names
            .insert("app.x".to_owned());
    }
    let marked = [pid(&first), pid(&second)];
    scene.pool.give(first);
    scene.pool.give(second);
    // The pool is full of connections that know the setting: one of them makes room.
    let clean = scene.take(&client, &[]).await;
    assert!(!marked.contains(&pid(&clean)));
    let fits = scene.take(&client, &["app.x"]).await;
    assert!(marked.contains(&pid(&fits)));
    // Given back while somebody waits whom it does not fit, it is closed as well.
    assert!(matches!(scene.checkout(&client, &[]), Checkout::Queued(_)));
    scene.pool.give(fits);
    let Letter::Link { link, .. } = letter(client.client()).await else {
        panic!("no connection")
    };
    assert!(!marked.contains(&pid(&link)));
    scene.pool.give(link);
    scene.pool.give(clean);
    assert_eq!(scene.counts(), (0, 2, 0));
}

async fn time_refuses_and_renewal_closes(scene: &Scene) {
    let client = scene.client();
    let (first, second) = (
        scene.take(&client, &[]).await,
        scene.take(&client, &[]).await,
    );
    let Checkout::Queued(ticket) = scene.checkout(&client, &[]) else {
        panic!("the pool is larger than its size")
    };
    scene.pools.tick(Instant::now());
    assert_eq!(scene.counts(), (2, 0, 1));
    scene.pools.tick(Instant::now() + Duration::from_secs(61));
    match letter(client.client()).await {
        Letter::Refused {
            ticket: got,
            refusal: Refusal::Failed(error),
        } => {
            assert_eq!((got, error.sqlstate.as_str()), (ticket, "53300"));
        }
        _ => panic!("not refused"),
    }
    scene.pool.give(first);
    scene.pools.retire_all();
    assert_eq!(scene.counts(), (1, 0, 0));
    scene.pool.give(second);
    assert_eq!(scene.counts(), (0, 0, 0));
}

async fn a_missing_database_is_said_in_the_servers_words(scene: &Scene, endpoint: &Endpoint) {
    let client = scene.client();
    let role = scene.pools.of_role(&"nobody".into(), None);
    let pool = role.pool(endpoint, &"postgres".into());
    let names = BTreeSet::new();
    let want = Want {
        client: client.client(),
        names: &names,
        settings_hash: 0,
        lane: crate::lanes::MAIN,
        patient: true,
    };
    assert!(matches!(pool.checkout(&want), Checkout::Queued(_)));
    let Letter::Refused {
        refusal: Refusal::Failed(error),
        ..
    } = letter(client.client()).await
    else {
        panic!("a role that does not exist has logged in")
    };
    assert_eq!(error.sqlstate.as_str(), "28000");
    assert_eq!(error.message, "role \"nobody\" does not exist");
}
