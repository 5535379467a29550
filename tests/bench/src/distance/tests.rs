//! Tests of the distance: on a clock of their own, and on the wire. What must not be faster is
//! exact on any machine; how much slower it may be is only tested where the machine has nothing
//! else to do.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::link::{Link, SEGMENT};
use super::window::Window;
use super::*;

const GIGABIT: Option<u64> = Some(1_000_000_000);

#[test]
fn distances_are_read_as_people_write_them() {
    assert_eq!(time("20ms"), Ok(Duration::from_millis(20)));
    assert_eq!(time("0.5 ms"), Ok(Duration::from_micros(500)));
    assert_eq!(rate("1Gbit"), Ok(1_000_000_000));
    assert_eq!(rate("2.5Mbit"), Ok(2_500_000));
    assert_eq!(percent("0.1%"), Ok(0.1));
    for wrong in ["", "20", "ms", "-1ms", "11s"] {
        assert!(time(wrong).is_err(), "{wrong}");
    }
    for wrong in ["", "1G", "1GB", "0bit", "1Tbit", "bit"] {
        assert!(rate(wrong).is_err(), "{wrong}");
    }
    for wrong in ["", "-1", "51", "NaN"] {
        assert!(percent(wrong).is_err(), "{wrong}");
    }
    let distance = Distance {
        rtt: Duration::from_micros(2500),
        rate: Some(10_000_000),
        loss: 0.5,
    };
    assert_eq!(
        distance.options(),
        ["--rtt=2500us", "--loss=0.5", "--rate=10000000bit"]
    );
    assert_eq!(time("2500us"), Ok(distance.rtt));
    assert_eq!(rate("10000000bit"), Ok(10_000_000));
}

/// Sends this many bytes over `connections` concurrently on a clock of its own, and returns the
/// seconds until the last arrives.
fn send(distance: Distance, connections: usize, bytes: u64) -> f64 {
    let began = Instant::now();
    let mut now = began;
    let mut link = Link::new(distance, now);
    let mut senders: Vec<_> = (0..connections)
        .map(|_| (Window::new(distance.rtt, now), 0_u32, now))
        .collect();
    let mut acknowledged: Vec<(Instant, usize, u32, bool)> = Vec::new();
    let (mut rest, mut last) = (bytes, now);
    loop {
        for (number, (window, unheard, after)) in senders.iter_mut().enumerate() {
            while rest > 0 && window.size().saturating_sub(*unheard) >= SEGMENT {
                let most = window.size() - *unheard;
                let size = most
                    .min(65_536)
                    .min(u32::try_from(rest).unwrap_or(u32::MAX));
                window.sends(now);
                let sent = link.send(size, now);
                if sent.congested {
                    window.congest(now);
                }
                rest -= u64::from(size);
                *unheard += size;
                *after = sent.arrives.max(*after);
                last = last.max(*after);
                let was_full = 2 * *unheard > window.size();
                acknowledged.push((*after + distance.rtt / 2, number, size, was_full));
            }
        }
        if rest == 0 {
            return (last - began).as_secs_f64();
        }
        let first = (0..acknowledged.len())
            .min_by_key(|&place| acknowledged[place].0)
            .expect("windows are never closed");
        let (when, number, size, was_full) = acknowledged.swap_remove(first);
        now = when;
        senders[number].1 -= size;
        senders[number].0.acknowledge(size, was_full, now);
    }
}

fn distance(rtt: u64, rate: Option<u64>, loss: f64) -> Distance {
    let rtt = Duration::from_millis(rtt);
    Distance { rtt, rate, loss }
}

#[test]
fn the_line_is_full_and_never_more_than_full() {
    for (rtt, connections, at_most) in [(1, 1, 1.02), (20, 1, 1.05), (20, 6, 1.03), (40, 6, 1.06)] {
        let took = send(distance(rtt, GIGABIT, 0.0), connections, 600_000_000);
        let floor = 4.8;
        assert!(took >= floor, "{rtt} ms, {connections}: {took}");
        assert!(
            took <= floor * at_most,
            "{rtt} ms, {connections}: {took} of {floor}"
        );
    }
    // A receive buffer is not enough for 40 ms.
    let took = send(distance(40, GIGABIT, 0.0), 1, 600_000_000);
    assert!(took > 1.5 * 4.8, "{took}");
}

#[test]
fn a_connection_starts_slowly() {
    let rtt = 0.040;
    let far = distance(40, None, 0.0);
    for (packets, round_trips) in [
        (10, 0.0),
        (11, 1.0),
        (30, 1.0),
        (31, 2.0),
        (70, 2.0),
        (71, 3.0),
    ] {
        let took = send(far, 1, packets * u64::from(SEGMENT));
        let expected = rtt * (0.5 + round_trips);
        assert!((took - expected).abs() < 1e-6, "{packets}: {took}");
    }
}

#[test]
fn a_pause_makes_a_connection_start_slowly_again() {
    let (rtt, mut now) = (Duration::from_millis(20), Instant::now());
    let mut window = Window::new(rtt, now);
    let initial = window.size();
    for _ in 0..5 {
        window.acknowledge(window.size(), true, now);
    }
    assert_eq!(window.size(), 32 * initial);
    now += Duration::from_millis(200);
    window.sends(now);
    assert_eq!(window.size(), 32 * initial);
    now += Duration::from_secs(10);
    window.sends(now);
    assert_eq!(window.size(), initial);
}

#[test]
fn loss_slows_one_connection_more_than_several() {
    let bytes = 100_000_000;
    let clean = send(distance(20, GIGABIT, 0.0), 1, bytes);
    let one = send(distance(20, GIGABIT, 0.1), 1, bytes);
    let six = send(distance(20, GIGABIT, 0.1), 6, bytes);
    assert!(one > 2.0 * clean, "{one} of {clean}");
    assert!(six < one / 2.0, "{six} of {one}");
    assert!(send(distance(20, GIGABIT, 0.1), 1, bytes) == one);
}

/// Starts a proxy in front of a server that reads what is announced in eight bytes, then answers
/// with as many of its own.
fn server(distance: Distance) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut sizes = [0; 16];
                while stream.read_exact(&mut sizes).is_ok() {
                    let (up, down) = (&sizes[..8], &sizes[8..]);
                    let [up, down] =
                        [up, down].map(|size| u64::from_be_bytes(size.try_into().unwrap()));
                    pass(&mut stream, None, up);
                    pass(&mut stream, Some(2), down);
                }
            });
        }
    });
    let (sender, receiver) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = proxy::listen("127.0.0.1:0".parse().unwrap()).unwrap();
            sender.send(listener.local_addr().unwrap()).unwrap();
            proxy::serve(listener, server, distance).await.unwrap();
        });
    });
    receiver.recv().unwrap()
}

/// Writes this many bytes, each derived from its place, or reads and checks them.
fn pass(stream: &mut TcpStream, written: Option<u8>, bytes: u64) {
    // A prime, so blocks that change places are noticed.
    let pattern: Vec<u8> = (0..251_u8).cycle().take(251 * 1000).collect();
    let mut place = 0;
    let mut buffer = vec![0; pattern.len()];
    while place < bytes {
        let size = usize::try_from(bytes - place)
            .unwrap_or(usize::MAX)
            .min(pattern.len());
        if written.is_some() {
            stream.write_all(&pattern[..size]).unwrap();
        } else {
            stream.read_exact(&mut buffer[..size]).unwrap();
            assert!(buffer[..size] == pattern[..size], "other bytes at {place}");
        }
        place += size as u64;
    }
}

/// Sends this many bytes, waits for this many, and returns how long that took.
fn exchange(stream: &mut TcpStream, up: u64, down: u64) -> Duration {
    let began = Instant::now();
    let sizes = [up.to_be_bytes(), down.to_be_bytes()].concat();
    stream.write_all(&sizes).unwrap();
    pass(stream, Some(1), up);
    pass(stream, None, down);
    began.elapsed()
}

#[test]
fn a_request_takes_a_round_trip_and_a_new_connection_one_more() {
    let rtt = Duration::from_millis(30);
    let address = server(distance(30, GIGABIT, 0.0));
    let (mut first, mut next) = (Duration::MAX, Duration::MAX);
    for _ in 0..20 {
        let began = Instant::now();
        let mut stream = TcpStream::connect(address).unwrap();
        exchange(&mut stream, 100, 100);
        let took = began.elapsed();
        assert!(took >= 2 * rtt, "{took:?}");
        first = first.min(took);
        let took = exchange(&mut stream, 100, 100);
        assert!(took >= rtt, "{took:?}");
        next = next.min(took);
    }
    // The fastest of twenty, on a machine that may be busy.
    assert!(first < 3 * rtt, "{first:?}");
    assert!(next < 2 * rtt, "{next:?}");
}

#[test]
fn all_connections_share_the_rate_in_each_direction_and_bytes_stay_what_they_are() {
    let address = server(distance(5, Some(80_000_000), 0.1));
    let began = Instant::now();
    let exchanges: Vec<_> = (0..4)
        .map(|_| {
            thread::spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                exchange(&mut stream, 1_000_000, 500_000);
            })
        })
        .collect();
    for exchange in exchanges {
        exchange.join().unwrap();
    }
    // 4 MB up at 10 MB/s. What goes down does not wait for all of that.
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(450), "{took:?}");
}

#[test]
fn an_end_is_passed_on_after_the_bytes_before_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = proxy::listen("127.0.0.1:0".parse().unwrap()).unwrap();
            sender.send(listener.local_addr().unwrap()).unwrap();
            proxy::serve(listener, to, distance(10, None, 0.0))
                .await
                .unwrap();
        });
    });
    let mut client = TcpStream::connect(receiver.recv().unwrap()).unwrap();
    client.write_all(b"question").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    let mut text = String::new();
    server.read_to_string(&mut text).unwrap();
    assert_eq!(text, "question");
    server.write_all(b"answer").unwrap();
    drop(server);
    text.clear();
    client.read_to_string(&mut text).unwrap();
    assert_eq!(text, "answer");
}

/// `cargo test -p bench-push -- --ignored`, when nothing else runs.
#[test]
#[ignore = "measures this machine, which must have nothing else to do"]
fn the_proxy_keeps_up_with_a_gigabit() {
    let bytes = 600_000_000;
    let floor = 4.8;
    for (rtt, at_most) in [(1, 1.02), (20, 1.05)] {
        let address = server(distance(rtt, GIGABIT, 0.0));
        let mut stream = TcpStream::connect(address).unwrap();
        let took = exchange(&mut stream, bytes, 1).as_secs_f64();
        assert!(took >= floor, "{rtt} ms: {took} s");
        assert!(took <= floor * at_most, "{rtt} ms: {took} s");
    }
    let rtt = Duration::from_millis(20);
    let address = server(distance(20, GIGABIT, 0.0));
    let mut stream = TcpStream::connect(address).unwrap();
    exchange(&mut stream, 100, 100);
    let took = (0..20)
        .map(|_| exchange(&mut stream, 100, 100))
        .sum::<Duration>()
        / 20;
    assert!(took < rtt + rtt / 20, "{took:?}");
}
