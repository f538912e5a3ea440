import {
  type Icon,
  IconAntennaBars4,
  IconBattery2,
  IconHelpCircle,
  IconNetwork,
  IconWifi,
} from "@tabler/icons-react";
import type { Schemas } from "../api/client";

const looks: Record<Schemas["Link"], { icon: Icon; word: string }> = {
  wired: { icon: IconNetwork, word: "Wired" },
  wifi: { icon: IconWifi, word: "Wi-Fi" },
  cellular: { icon: IconAntennaBars4, word: "Cellular" },
  battery: { icon: IconBattery2, word: "On battery" },
};

/** The link that a device has to its neighbours, as its configuration names it. */
export function LinkMark({ of }: { of: Schemas["Link"] | undefined }) {
  const { icon: Icon, word } = (of && looks[of]) ?? { icon: IconHelpCircle, word: "Link not named" };
  return (
    <span className="mark">
      <Icon size={15} stroke={1.75} aria-hidden />
      {word}
    </span>
  );
}
