//! What the scheduler owes its guests, whatever became of others.

use super::*;
use crate::{Program, WasiCtx};

fn spinning() -> Program {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/spin.wasm");
    Program::new(std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn ended_guests_leave_those_in_their_place_no_more_than_others_have() {
    let (program, mut events) = (spinning(), Vec::new());
    let mut scheduler = Scheduler::new().unwrap();
    let spawn = |scheduler: &mut Scheduler| {
        scheduler.spawn(Guest::new(&program, WasiCtx::builder().build()), None)
    };
    // Those that never end keep the queue from being empty when the others do.
    let lasting: Vec<_> = (0..32).map(|_| spawn(&mut scheduler)).collect();
    for _ in 0..64 {
        let one = spawn(&mut scheduler);
        scheduler.turn(Some(Duration::ZERO), &mut events).unwrap();
        scheduler.cancel(one).unwrap();
    }
    let last = spawn(&mut scheduler);
    scheduler.turn(Some(Duration::ZERO), &mut events).unwrap();
    assert_eq!((scheduler.len(), scheduler.parked()), (33, 0));
    let entries = scheduler.queue.len();
    assert!(entries <= 33 + 64, "{entries}");
    let slot = last.slot;
    let own = |scheduler: &Scheduler| {
        let all = scheduler.queue.all();
        all.filter(|id| id.slot == slot && scheduler.guest(**id).is_some()).count()
    };
    assert_eq!(own(&scheduler), 1, "one claim, not one for each that was there before");
    lasting.into_iter().chain([last]).for_each(|id| drop(scheduler.cancel(id)));
    assert_eq!((scheduler.len(), scheduler.parked()), (0, 0));
}
