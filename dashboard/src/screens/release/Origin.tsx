import { useQuery } from "@tanstack/react-query";
import type { Schemas } from "../../api/client";
import { attestations } from "../../api/queries";
import { many, short } from "../../parts/format";
import { Card } from "../../parts/Page";
import { When } from "../../parts/When";

/** Who made a release, from which commit, and what its pipeline says about it. Nothing when a person made it by hand. */
export function Origin({ of }: { of: Schemas["Release"] }) {
  const said = useQuery(attestations(of.product, of.version));
  const items = said.data?.items ?? [];
  if (!of.job && items.length === 0) return null;
  return (
    <Card title="Where it comes from">
      <dl className="facts">
        {of.job && <JobFacts of={of.job} />}
        {items.map((a) => (
          <Said key={a.sha256} of={a} />
        ))}
      </dl>
    </Card>
  );
}

/** What the platform of a CI job vouches for. */
function JobFacts({ of }: { of: Schemas["Job"] }) {
  return (
    <>
      <dt>Repository</dt>
      <dd>{of.repository ?? of.subject}</dd>
      {of.ref && (
        <>
          <dt>Ref</dt>
          <dd>{of.ref.replace(/^refs\/(heads|tags)\//, "")}</dd>
        </>
      )}
      {of.commit && (
        <>
          <dt>Commit</dt>
          <dd>
            <code title={of.commit}>{short(of.commit)}…</code>
          </dd>
        </>
      )}
      {of.run && (
        <>
          <dt>Run</dt>
          <dd>{of.run.startsWith("https://") ? <a href={of.run}>{of.run.split("/").pop()}</a> : of.run}</dd>
        </>
      )}
    </>
  );
}

const names = { provenance: "Provenance", sbom: "SBOM", other: "Statement" };

/** One attestation. What it says is its author's word; that it is about this release is checked. */
function Said({ of }: { of: Schemas["Attestation"] }) {
  const signer = of.signed_by[0];
  return (
    <>
      <dt>{names[of.kind]}</dt>
      <dd>
        {of.kind === "sbom" && many(of.packages ?? 0, "package")}
        {of.kind === "provenance" && (
          <>
            says: built by {of.builder ?? "somebody"}
            {of.commit && (
              <>
                {" "}
                from <code title={of.commit}>{short(of.commit)}…</code>
              </>
            )}
          </>
        )}
        {of.kind === "other" && of.predicate_type};{" "}
        {signer ? (
          <>
            signed with the product's key <code title={signer}>{short(signer)}…</code>
          </>
        ) : (
          "signed with a key that this server does not know"
        )}
        ; handed in by {of.by} <When at={of.at} />
      </dd>
    </>
  );
}
