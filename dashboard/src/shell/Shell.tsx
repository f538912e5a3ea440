import {
  IconActivity,
  IconBoxMultiple,
  IconCpu,
  IconHome,
  IconKey,
  IconPackage,
  IconRoute,
  IconTopologyStar3,
} from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { Link, Outlet, useLocation } from "@tanstack/react-router";
import { Suspense, useEffect, useRef } from "react";
import { overview } from "../api/queries";
import { Account } from "./Account";
import { LiveMark } from "./LiveMark";
import { useFollow } from "./live";

const places = [
  { to: "/", word: "Overview", icon: IconHome },
  { to: "/devices", word: "Devices", icon: IconCpu },
  { to: "/sites", word: "Sites", icon: IconTopologyStar3 },
  { to: "/groups", word: "Groups", icon: IconBoxMultiple },
  { to: "/releases", word: "Releases", icon: IconPackage },
  { to: "/rollouts", word: "Rollouts", icon: IconRoute },
  { to: "/tokens", word: "Tokens", icon: IconKey },
  { to: "/activity", word: "Activity", icon: IconActivity },
] as const;

/** What is around every screen: where one can go, whether the page is live, and who one is. */
export function Shell() {
  useFollow();
  const { data } = useQuery(overview());
  const nav = useRef<HTMLElement>(null);
  const place = useLocation({ select: (l) => l.pathname });
  // On a phone the places are a strip that is wider than the screen.
  // biome-ignore lint/correctness/useExhaustiveDependencies: place decides which link is the active one
  useEffect(() => {
    const here = nav.current?.querySelector<HTMLElement>("a.active");
    if (here) nav.current?.scrollTo({ left: here.offsetLeft - 60 });
  }, [place]);
  const waiting = data?.needs_you.length ?? 0;
  return (
    <div className="shell">
      <a className="skip" href="#main">
        Skip to the content
      </a>
      <div className="side">
        <Link to="/" className="brand" aria-label="Waxwing, overview">
          <img src="/waxwing.svg" alt="" width={30} height={30} />
          <span>Waxwing</span>
        </Link>
        <nav aria-label="Main" ref={nav}>
          <ul>
            {places.map(({ to, word, icon: Icon }) => (
              <li key={to}>
                <Link to={to} activeOptions={{ exact: to === "/", includeSearch: false }}>
                  <Icon size={18} stroke={1.75} aria-hidden />
                  {word}
                  {to === "/" && waiting > 0 && (
                    <span className="drop" title={`${waiting} waiting for a person`}>
                      {waiting}
                      <span className="unseen"> waiting for a person</span>
                    </span>
                  )}
                </Link>
              </li>
            ))}
          </ul>
        </nav>
        <div className="side-foot">
          <LiveMark />
          <Account />
        </div>
      </div>
      <main id="main" tabIndex={-1}>
        <Suspense>
          <Outlet />
        </Suspense>
      </main>
    </div>
  );
}
