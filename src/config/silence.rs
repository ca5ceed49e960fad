//! What a process does while it does not hear what is revoked.

use std::time::Duration;

use chassis::revocation::Silence;
use clap::{Args, ValueEnum};

use super::Problems;

/// Key management's stream says every two seconds that it is alive.
const SHORTEST: Duration = Duration::from_secs(3);

/// How the stream of revocations is listened to.
#[derive(Args)]
pub(crate) struct Hearing {
    /// How long the stream of revocations may be silent before it counts
    #[arg(long, value_name = "DURATION", env = "MUSTER_REVOCATION_SILENCE", default_value = "10s", value_parser = humantime::parse_duration)]
    revocation_silence: Duration,
    /// What becomes of tokens then: refused, or accepted until they expire
    #[arg(
        long,
        env = "MUSTER_ON_REVOCATION_SILENCE",
        value_enum,
        default_value_t
    )]
    on_revocation_silence: OnSilence,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum OnSilence {
    /// They are refused: what is revoked is never accepted beyond the bound.
    #[default]
    Refuse,
    /// They are accepted until they expire: what is revoked may be for as long.
    Accept,
}

impl Hearing {
    pub(crate) fn check(&self, problems: &mut Problems) -> Silence {
        if self.revocation_silence < SHORTEST {
            problems.add("--revocation-silence: must be at least 3s: the stream is heard every 2s");
        }
        Silence {
            bound: self.revocation_silence,
            accept: self.on_revocation_silence == OnSilence::Accept,
        }
    }
}
