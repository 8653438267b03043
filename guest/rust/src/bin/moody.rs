//! A filter that does what its line says: `spin` computes for ever, `hog` takes all memory,
//! `flood` prints for ever, `sleep` waits for a second; any other line is printed back.
//! For showing that a guest that misbehaves costs the others nothing.

use std::io::Write;

fn main() {
    let mut line = String::new();
    if std::io::stdin().read_line(&mut line).is_err() {
        std::process::exit(1);
    }
    match line.trim() {
        "spin" => loop {
            std::hint::black_box(&line);
        },
        "hog" => {
            let mut taken: Vec<Vec<u8>> = Vec::new();
            loop {
                taken.push(vec![1; 1 << 16]);
            }
        }
        "flood" => loop {
            println!("{}", "flood ".repeat(100));
        },
        "sleep" => std::thread::sleep(std::time::Duration::from_secs(1)),
        _ => {}
    }
    let _ = std::io::stdout().write_all(line.as_bytes());
}
