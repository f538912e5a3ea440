import { Link } from "@tanstack/react-router";
import { useState } from "react";
import type { Schemas } from "../../api/client";
import { Advice } from "../../parts/Advice";
import { bytes, many } from "../../parts/format";
import { Card } from "../../parts/Page";
import { Share, Shares } from "../../parts/Shares";
import { isLate, reasonAtSite, side, squares } from "../../parts/source";

type Whole = Schemas["SiteExchange"];
type Giver = Schemas["SiteGiver"];
type Taker = Schemas["SiteTaker"];

/** Who gave how much to whom, as squares in a table, and why the server was asked. */
export function Exchange({ of }: { of: Whole | undefined }) {
  if (!of || of.givers.length === 0) return null;
  const passed = of.givers.some((g) => g.kind !== "server");
  const silent = of.silent > 0 && of.silent === of.devices;
  return (
    <Card title="Who gave to whom" aside={`${of.product} ${of.version}, as told by those that took it`}>
      <div className="exchange">
        <div>
          {passed ? <Matrix of={of} /> : <p className="soft">Neighbours have passed nothing on yet.</p>}
          {of.silent > 0 && (
            <p className="faint note">
              {silent
                ? "None of the devices says"
                : `${of.silent} of ${many(of.devices, "device")} do not say`}{" "}
              who gave it what. Newer agents do.
            </p>
          )}
        </div>
        <Reasons of={of} />
      </div>
      {of.advice.length > 0 && (
        <div className="stack advice">
          <Advice items={of.advice} />
        </div>
      )}
    </Card>
  );
}

const takerName = (t: Taker): string => t.device ?? many(t.devices, "other");

function giverName({ kind, device }: Giver): string {
  if (device) return device;
  return { server: "The server", others: "Others", unnamed: "Not told" }[kind as string] ?? kind;
}

/** What a square means, as a sentence. */
function sentence(g: Giver, t: Taker, n: number): string {
  const together: Record<string, string> = {
    others: "Devices that are not shown one by one",
    unnamed: "Neighbours that it does not name",
  };
  const who = together[g.kind] ?? giverName(g);
  return `${who} gave ${takerName(t)} ${bytes(n)}`;
}

/** Givers by takers. The area of a square is its bytes; a reader of the table hears them. */
function Matrix({ of: { takers, givers } }: { of: Whole }) {
  const [at, setAt] = useState<[number, number]>();
  const { most, over } = squares(takers, givers);
  const giver = at && givers[at[0]];
  const taker = at && takers[at[1]];
  return (
    <>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls sideways has to be reached by keys */}
      <section className="matrix-wrap" aria-label="Who gave to whom, as a table" tabIndex={0}>
        <table className="matrix" onPointerLeave={() => setAt(undefined)}>
          <caption className="unseen">
            Rows are givers, columns are takers. The last column is what a giver gave in all.
          </caption>
          <thead>
            <tr>
              <th scope="col" className="matrix-corner">
                <span aria-hidden>gave ↓ to →</span>
                <span className="unseen">Giver</span>
              </th>
              {takers.map((t, i) => (
                <th key={takerName(t)} scope="col" className={at?.[1] === i ? "matrix-at" : undefined}>
                  <span>
                    <Name device={t.device} word={takerName(t)} />
                  </span>
                </th>
              ))}
              <th scope="col" className="matrix-sum">
                In all
              </th>
            </tr>
          </thead>
          <tbody>
            {givers.map((g, row) => (
              <tr key={giverName(g)} className={at?.[0] === row ? "matrix-at" : undefined}>
                <th scope="row">
                  <Name device={g.device} word={giverName(g)} />
                </th>
                {takers.map((t, column) => {
                  const n = g.gave[column] ?? 0;
                  return (
                    <td key={takerName(t)} onPointerEnter={() => setAt([row, column])}>
                      <span className="unseen">{n > 0 ? bytes(n) : "nothing"}</span>
                      <i
                        aria-hidden
                        className={`square square-${g.kind}${n > most ? " square-over" : ""}`}
                        style={{ width: `${side(n, most)}%` }}
                      />
                    </td>
                  );
                })}
                <td className="matrix-sum num">{bytes(g.bytes)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </section>
      <p className="faint matrix-says" aria-hidden>
        {giver && taker && at
          ? sentence(giver, taker, giver.gave[at[1]] ?? 0)
          : `A full square is ${bytes(most)}${over ? ", one that fades is more" : ""}.`}
      </p>
    </>
  );
}

function Name({ device, word }: { device: string | undefined; word: string }) {
  if (!device) return <>{word}</>;
  return (
    <Link to="/devices/$id" params={{ id: device }} title={device}>
      {device}
    </Link>
  );
}

/** Why the server was asked, over all devices. */
function Reasons({ of }: { of: Whole }) {
  if (of.reasons.length === 0) return null;
  const most = Math.max(...of.reasons.map((r) => r.bytes));
  return (
    <div>
      <h3 className="sub">Why the server was asked</h3>
      <Shares label="Why the server was asked">
        {of.reasons.map((r) => (
          <Share
            key={r.why ?? ""}
            of={r.bytes}
            most={most}
            colour={isLate(r.why) ? "late" : "origin"}
            note={many(r.chunks, "chunk")}
          >
            {reasonAtSite(r.why)}
          </Share>
        ))}
      </Shares>
    </div>
  );
}
