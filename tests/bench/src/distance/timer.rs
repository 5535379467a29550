//! A timer that is exact: tokio's own rounds up to milliseconds, which is as long as a short round
//! trip.

use std::io;
use std::time::{Duration, Instant};

use rustix::fd::OwnedFd;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;

pub(super) struct Timer {
    descriptor: AsyncFd<OwnedFd>,
    set: Option<Instant>,
}

impl Timer {
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let descriptor = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        // SAFETY: the descriptor is owned, so it stays open for as long as it is registered.
        let descriptor = unsafe { AsyncFd::register(descriptor)? };
        Ok(Self {
            descriptor,
            set: None,
        })
    }

    /// Waits until then. May be dropped and begun again.
    pub(super) async fn until(&mut self, when: Instant) -> io::Result<()> {
        if self.set != Some(when) {
            // Zero would switch it off.
            let rest = when
                .saturating_duration_since(Instant::now())
                .max(Duration::from_nanos(1));
            let once = Itimerspec {
                it_interval: Timespec::default(),
                it_value: rest.try_into().map_err(io::Error::other)?,
            };
            timerfd_settime(&self.descriptor, TimerfdTimerFlags::empty(), &once)?;
            self.set = Some(when);
        }
        loop {
            let mut ready = self.descriptor.readable().await?;
            if Instant::now() >= when {
                return Ok(());
            }
            ready.clear_ready();
        }
    }
}
