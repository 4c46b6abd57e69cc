//! What clients that mean no good cost the others: how late the frames of good calls come, with nobody else there and under
//! attack, by turns and in the same run; and what becomes of the server's memory.
//!
//! An attack is all of it at once: ten thousand connections, requests that drip and sockets that say nothing, garbage, floods
//! and messages that are too long, and callers that never read. The server has a core; the callers have another, which the
//! attackers share at the lowest priority, in a process of their own. Only the loopback is attacked, for [`ATTACK`] at a time.
//!
//! *Late* is how much later a frame of an answer comes than by the pace of the frame that came earliest.
//!
//! `cargo bench --bench hostile`

#[path = "../tests/serve/doors.rs"]
mod doors;
#[path = "process/mod.rs"]
mod process;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use doors::{DOORS, FRAME, Line, Reads};
use process::{Process, ms, percentile};
use rspp::adapters::admission::Capacity;
use rspp::adapters::server::Limits;
use tungstenite::Message;

const CALLERS: u32 = 40;
/// Calm, attack, calm, attack, and so on.
const STRETCHES: usize = 6;
const ATTACK: Duration = Duration::from_secs(8);
/// The first of an answer is not measured.
const WARM_UP_FRAMES: usize = 25;
const ATTEMPTS: usize = 10_000;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match (arguments.get(1).map(String::as_str), arguments.get(2)) {
        (Some("server"), _) => {
            let folder = tempfile::tempdir().expect("there is room");
            process::run(doors::pipeline(folder.path()), Limits::default(), Capacity::default());
        }
        (Some("attack"), Some(address)) => attack(address.parse().expect("it is an address")),
        _ => measure(),
    }
}

fn measure() {
    let mut report = format!("{}\n", process::machine());
    let server = Process::start("server");
    let address = server.address;
    let began = Instant::now() + Duration::from_millis(500);
    let callers: Vec<_> = (0..CALLERS).map(|number| thread::spawn(move || call(address, began, number))).collect();
    let mut memory = Vec::new();
    for stretch in 0..STRETCHES {
        wait_until(began + ATTACK * stretch as u32);
        memory.push(server.memory_kib());
        let attackers = (stretch % 2 == 1).then(|| start_attack(address));
        wait_until(began + ATTACK * (stretch as u32 + 1));
        if let Some(mut attackers) = attackers {
            let _ = attackers.kill();
            let _ = attackers.wait();
        }
    }
    memory.push(server.memory_kib());
    let mut late = [Vec::new(), Vec::new()];
    for caller in callers {
        let stretches = caller.join().expect("a good call goes on through all of it");
        stretches.into_iter().enumerate().for_each(|(number, times)| late[number % 2].extend(times));
    }
    late.iter_mut().for_each(|times| times.sort_unstable());
    report += &format!("{:<8} {:>8} {:>9} {:>9} {:>9}\n", "", "frames", "p50 ms", "p99 ms", "max ms");
    for (name, times) in ["calm", "attack"].iter().zip(&late) {
        let [p50, p99, max] = [50, 99, 100].map(|percent| ms(percentile(times, percent)));
        report += &format!("{name:<8} {:>8} {p50:>9} {p99:>9} {max:>9}\n", times.len());
    }
    let [calm, attacked] = [&late[0], &late[1]].map(|times| percentile(times, 99).as_secs_f64());
    report += &format!("ratio of p99: {:.2}\nmemory, MiB, before each stretch and at the end:", attacked / calm);
    memory.iter().for_each(|kib| report += &format!(" {:.1}", *kib as f64 / 1_024.0));
    // By then this address may come again.
    thread::sleep(Duration::from_secs(1));
    report += &format!("\nrefusals:\n{}", refusals(address));
    std::io::stdout().write_all(report.as_bytes()).expect("what it measured can be printed");
}

fn wait_until(at: Instant) {
    thread::sleep(at.saturating_duration_since(Instant::now()));
}

fn refusals(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).expect("the server is there");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").expect("it reads");
    let mut page = String::new();
    stream.read_to_string(&mut page).expect("it answers");
    let lines = page.lines().filter(|line| line.starts_with("rspp_refusals") || line.starts_with("rspp_connections"));
    lines.map(|line| format!("  {line}\n")).collect()
}

/// A good call: asks anew at each stretch, and gives how late the frames of each came.
fn call(address: SocketAddr, began: Instant, number: u32) -> Vec<Vec<Duration>> {
    let mut line = Line::connect(&DOORS[0], address);
    let mut next = began + FRAME * number / CALLERS;
    let stretch = |number: usize| {
        line.ask();
        let ends = began + ATTACK * (number as u32 + 1);
        let (mut played, mut offsets) = (Duration::ZERO, Vec::new());
        while next + FRAME < ends {
            line.speak(false);
            next += FRAME;
            while let Some(reads) = line.next(next) {
                if let Reads::Audio(length) = reads {
                    // By its end: a sentence's last frame is shorter than others, and comes earlier by its beginning.
                    played += length;
                    offsets.push(Instant::now() - played);
                }
            }
        }
        let measured = offsets.get(WARM_UP_FRAMES..).expect("an answer comes");
        let earliest = *measured.iter().min().expect("an answer comes");
        measured.iter().map(|offset| *offset - earliest).collect()
    };
    (0..STRETCHES).map(stretch).collect()
}

fn start_attack(address: SocketAddr) -> std::process::Child {
    let own = std::env::current_exe().expect("it runs");
    // Where there is no other program for that, at the lowest of the usual priorities.
    let is_idle = Command::new("chrt").args(["--idle", "0", "true"]).status().is_ok_and(|status| status.success());
    let (program, priority) = if is_idle { ("chrt", ["--idle", "0"]) } else { ("nice", ["-n", "19"]) };
    let mut attack = Command::new(program);
    attack.args(priority).arg(own).args(["attack", &address.to_string()]);
    attack.stderr(Stdio::null()).spawn().expect("it starts again")
}

/// One kind of attack, on a server, until then.
type Attack = fn(SocketAddr, Instant);

/// All of it at once, for as long as an attack lasts.
fn attack(address: SocketAddr) {
    let until = Instant::now() + ATTACK;
    let kinds: [(usize, Attack); 7] =
        [(4, attempts), (50, drip), (50, say_nothing), (4, garbage), (4, flood), (4, too_long), (8, read_nothing)];
    let threads: Vec<_> = kinds
        .into_iter()
        .flat_map(|(number, kind)| (0..number).map(move |_| thread::spawn(move || kind(address, until))))
        .collect();
    threads.into_iter().for_each(|thread| drop(thread.join()));
}

fn attempts(address: SocketAddr, until: Instant) {
    for _ in 0..ATTEMPTS / 4 {
        if Instant::now() > until {
            return;
        }
        let _ = TcpStream::connect(address);
    }
}

/// A request of which a byte comes now and then.
fn drip(address: SocketAddr, until: Instant) {
    while Instant::now() < until {
        let Ok(mut stream) = TcpStream::connect(address) else { return };
        let _ = stream.write_all(b"GET /v1/rspp HTTP/1.1\r\nhost: x\r\nx-drip: ");
        while Instant::now() < until && stream.write_all(b"x").is_ok() {
            thread::sleep(Duration::from_millis(100));
        }
    }
}

fn say_nothing(address: SocketAddr, until: Instant) {
    let stream = TcpStream::connect(address);
    wait_until(until);
    drop(stream);
}

/// Sends this until the server has had enough, again and again.
fn send(address: SocketAddr, until: Instant, message: &Message) {
    while Instant::now() < until {
        let mut line = Line::connect(&DOORS[0], address);
        while Instant::now() < until && line.try_send(message.clone()) {}
    }
}

fn garbage(address: SocketAddr, until: Instant) {
    send(address, until, &Message::text("}{"));
}

fn flood(address: SocketAddr, until: Instant) {
    send(address, until, &Message::binary(vec![0; 640]));
}

fn too_long(address: SocketAddr, until: Instant) {
    send(address, until, &Message::binary(vec![0; 300 * 1_024]));
}

fn read_nothing(address: SocketAddr, until: Instant) {
    let mut line = Line::connect(&DOORS[0], address);
    line.ask();
    wait_until(until);
}
