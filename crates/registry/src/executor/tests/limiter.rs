//! Timing of pushes: concurrency, order, and what waits during a pause.

use super::*;

#[tokio::test]
async fn an_artifact_is_tagged_while_large_blobs_are_still_on_their_way() {
    struct Order(Mutex<Vec<String>>);
    impl Observer for Order {
        fn event(&self, event: Event<'_>) {
            let text = match event {
                Event::Tagged { repository, .. } => format!("tagged {repository}"),
                Event::BlobUploaded { size, .. } if size > SMALL => "large blob".to_owned(),
                _ => return,
            };
            self.0.lock().unwrap().push(text);
        }
    }
    let registry = Distribution::start().await;
    let settings = Settings {
        // Two large blobs take more than a second. Small requests wait for a few of their pieces.
        max_rate: Some(24_000_000),
        ..hasty()
    };
    let client =
        Registry::with_settings(registry.endpoint(), Credentials::Anonymous, settings).unwrap();
    let blobs = Blobs::new();
    let mut artifacts = vec![
        image(&blobs, "mke/large", "v1", &[&[1; 16 << 20]]),
        image(&blobs, "mke/larger", "v1", &[&[2; 20 << 20]]),
        image(&blobs, "mke/largest", "v1", &[&[3; 24 << 20]]),
    ];
    artifacts.extend(images(&blobs, 3));
    let order = Order(Mutex::default());
    let begun = Instant::now();
    all_good(&client.push_all(&artifacts, &blobs, &order).await);
    assert!(begun.elapsed() >= Duration::from_secs(2));
    let order = order.0.into_inner().unwrap();
    let last_large = order.iter().rposition(|event| event == "large blob");
    let before = &order[..last_large.unwrap()];
    let tagged = before.iter().filter(|e| e.starts_with("tagged mke/image-"));
    assert_eq!(tagged.count(), 3, "{order:?}");
}

#[tokio::test]
async fn an_ordered_pause_holds_for_every_request_and_halves_the_limit_once() {
    let refused = Arc::new(AtomicBool::new(false));
    let once = Arc::clone(&refused);
    let registry = Distribution::with(Quirks::default(), move |seen| {
        let order = seen.is("PUT", "/blobs/uploads/") && !once.swap(true, Ordering::SeqCst);
        order.then(|| (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "1")]).into_response())
    })
    .await;
    let blobs = Blobs::new();
    let artifacts = images(&blobs, 8);
    let client = registry.registry();
    // A different caller of the same client.
    let bystander = async {
        while !refused.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        let begun = Instant::now();
        client.ping().await.unwrap();
        begun.elapsed()
    };
    let pushing = client.push_all(&artifacts, &blobs, &());
    let (report, waited) = futures_util::future::join(pushing, bystander).await;
    all_good(&report);
    assert!(waited >= Duration::from_millis(600), "{waited:?}");
    assert_eq!(client.transport().limiter().ceiling(), 4);
}

#[tokio::test]
async fn jobs_are_the_most_that_is_under_way() {
    let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    struct Count<'a>(&'a AtomicUsize, &'a AtomicUsize);
    impl Observer for Count<'_> {
        fn event(&self, event: Event<'_>) {
            match event {
                Event::BlobStarted { .. } => {
                    let now = self.0.fetch_add(1, Ordering::SeqCst) + 1;
                    self.1.fetch_max(now, Ordering::SeqCst);
                }
                Event::BlobUploaded { .. } => {
                    self.0.fetch_sub(1, Ordering::SeqCst);
                }
                _ => {}
            }
        }
    }
    let registry = Distribution::start().await;
    let settings = Settings {
        uploads_at_once: Some(1),
        ..hasty()
    };
    let client =
        Registry::with_settings(registry.endpoint(), Credentials::Anonymous, settings).unwrap();
    let blobs = Blobs::new();
    let artifacts = images(&blobs, 6);
    all_good(
        &client
            .push_all(&artifacts, &blobs, &Count(&now, &most))
            .await,
    );
    assert_eq!(most.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn one_job_at_a_megabyte_a_second_gets_there() {
    let registry = Distribution::start().await;
    let settings = Settings {
        uploads_at_once: Some(1),
        max_rate: Some(1_000_000),
        // Makes it a stream, which obeys the rate as well.
        resume_from: 1_000_000,
        ..hasty()
    };
    let client =
        Registry::with_settings(registry.endpoint(), Credentials::Anonymous, settings).unwrap();
    let blobs = Blobs::new();
    let artifact = image(&blobs, "mke/a", "v1", &[&[1; 1_500_000], &[2; 500_000]]);
    let begun = Instant::now();
    client.push(&artifact, &blobs, &()).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(1700));
    assert_eq!(registry.count("PATCH", "/blobs/uploads/"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 16)]
async fn a_registry_that_bears_more_gets_more_at_once() {
    let (now, most) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let seen_most = Arc::clone(&most);
    let registry = Distribution::with(Quirks::default(), move |seen| {
        if seen.is("PUT", "/blobs/uploads/") {
            let request_limit = now.fetch_add(1, Ordering::SeqCst) + 1;
            seen_most.fetch_max(request_limit, Ordering::SeqCst);
            // The registry is slow without congestion.
            std::thread::sleep(Duration::from_millis(40));
            now.fetch_sub(1, Ordering::SeqCst);
        }
        None
    })
    .await;
    let blobs = Blobs::new();
    let artifacts = images(&blobs, 200);
    let client = registry.registry();
    assert_eq!(client.transport().limiter().ceiling(), 48);
    all_good(&client.push_all(&artifacts, &blobs, &()).await);
    let most = most.load(Ordering::SeqCst);
    assert!((8..=48).contains(&most), "{most} at once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 24)]
async fn a_registry_that_bears_eight_requests_is_rarely_sent_more() {
    const BEARS: usize = 8;
    let in_flight = AtomicUsize::new(0);
    let begun = Instant::now();
    let counts = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
    let counted = Arc::clone(&counts);
    let registry = Distribution::with(Quirks::default(), move |_| {
        let refuses = in_flight.fetch_add(1, Ordering::SeqCst) >= BEARS;
        if begun.elapsed() > Duration::from_secs(2) {
            counted.0.fetch_add(1, Ordering::SeqCst);
            counted.1.fetch_add(usize::from(refuses), Ordering::SeqCst);
        }
        if !refuses {
            std::thread::sleep(Duration::from_millis(15));
        }
        in_flight.fetch_sub(1, Ordering::SeqCst);
        refuses.then(|| StatusCode::TOO_MANY_REQUESTS.into_response())
    })
    .await;
    let blobs = Blobs::new();
    let artifacts = images(&blobs, 500);
    let report = push_arrived(&registry.registry(), &artifacts, &blobs).await;
    all_good(&report);
    let requests = counts.0.load(Ordering::SeqCst);
    let refused = counts.1.load(Ordering::SeqCst);
    assert!(requests > 300, "{requests} requests after two seconds");
    assert!(
        refused * 100 < requests * 3,
        "{refused} of {requests} refused"
    );
}
