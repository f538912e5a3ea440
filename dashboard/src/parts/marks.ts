import {
  type Icon,
  IconAlertTriangle,
  IconArrowBackUp,
  IconBan,
  IconCircleCheck,
  IconCircleDashed,
  IconCircleX,
  IconClock,
  IconCloudDownload,
  IconHammer,
  IconHeartRateMonitor,
  IconHourglass,
  IconLoader,
  IconPackage,
  IconPlayerPause,
  IconPlayerPlay,
  IconPlugConnected,
  IconPlugOff,
  IconRefresh,
  IconSearch,
} from "@tabler/icons-react";

/** How a state looks: an icon, a word and a colour, because no one of them is enough for everybody. */
export interface Look {
  icon: Icon;
  word: string;
  tone: "calm" | "busy" | "proof" | "good" | "bad" | "wait";
}

const looks: Record<string, Look> = {
  // a device in a rollout
  pending: { icon: IconCircleDashed, word: "Not begun", tone: "calm" },
  waiting: { icon: IconClock, word: "Waiting for its window", tone: "wait" },
  downloading: { icon: IconCloudDownload, word: "Downloading", tone: "busy" },
  installing: { icon: IconPackage, word: "Installing", tone: "busy" },
  rebooting: { icon: IconRefresh, word: "Restarting", tone: "busy" },
  proving: { icon: IconHeartRateMonitor, word: "Proving itself", tone: "proof" },
  succeeded: { icon: IconCircleCheck, word: "Succeeded", tone: "good" },
  failed: { icon: IconCircleX, word: "Failed", tone: "bad" },
  excluded: { icon: IconBan, word: "Left out", tone: "calm" },
  // phases of a device that the above do not name
  idle: { icon: IconCircleDashed, word: "Nothing to do", tone: "calm" },
  checking: { icon: IconSearch, word: "Checking", tone: "busy" },
  committed: { icon: IconCircleCheck, word: "Committed", tone: "good" },
  reverting: { icon: IconArrowBackUp, word: "Going back", tone: "bad" },
  reverted: { icon: IconArrowBackUp, word: "Went back", tone: "bad" },
  // rollouts
  running: { icon: IconPlayerPlay, word: "Running", tone: "busy" },
  paused: { icon: IconPlayerPause, word: "Paused", tone: "wait" },
  completed: { icon: IconCircleCheck, word: "Completed", tone: "good" },
  aborted: { icon: IconAlertTriangle, word: "Stopped", tone: "bad" },
  approval: { icon: IconHourglass, word: "Waits for you", tone: "proof" },
  // releases
  building: { icon: IconHammer, word: "Building", tone: "busy" },
  published: { icon: IconCircleCheck, word: "Published", tone: "good" },
  yanked: { icon: IconBan, word: "Yanked", tone: "calm" },
  // devices
  online: { icon: IconPlugConnected, word: "Online", tone: "good" },
  offline: { icon: IconPlugOff, word: "Offline", tone: "calm" },
  "to accept": { icon: IconHourglass, word: "Waits to be accepted", tone: "proof" },
  rejected: { icon: IconBan, word: "Shut out", tone: "bad" },
};

/** The look of a state. One that this page does not know yet is shown by its own name. */
export const look = (state: string): Look => looks[state] ?? { icon: IconLoader, word: state, tone: "calm" };

/** The statuses of devices in a rollout, in the order of a bar: what is sure first, what is not begun last. */
export const statuses = [
  "succeeded",
  "proving",
  "rebooting",
  "installing",
  "downloading",
  "waiting",
  "failed",
  "pending",
  "excluded",
] as const;

/** Reasons of failures and exclusions, in words. */
export function reasonWords(reason: string): string {
  const words: Record<string, string> = {
    "plane-mismatch": "Policy and repository disagree",
    untrusted: "A signature was refused",
    "wrong-hardware": "The release is for other hardware",
    counter: "The release is older than what runs",
    "too-large": "The image does not fit the slot",
    download: "Chunks could not be fetched",
    storage: "The slot could not be written",
    boot: "The new slot did not start",
    probe: "A health probe failed",
    deadline: "The proof took too long",
    "runs-newer": "Runs something newer",
    "left-group": "Left the group",
  };
  return words[reason] ?? reason;
}
