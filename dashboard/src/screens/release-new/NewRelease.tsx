import { Autocomplete, Button, TagsInput, TextInput } from "@mantine/core";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { type FormEvent, useState } from "react";
import { api, Problem, read } from "../../api/client";
import { keysFor } from "../../api/keys";
import { products, releases } from "../../api/queries";
import { Card, Page } from "../../parts/Page";
import { Trouble } from "../../parts/Trouble";
import { DropImage } from "./DropImage";
import { Sending } from "./Sending";
import { useUpload } from "./useUpload";
import "./release-new.css";

/** From an image on this machine to a published release: send, cut, sign. */
export function NewRelease() {
  const upload = useUpload();
  const navigate = useNavigate();
  const client = useQueryClient();
  const known = useQuery(products());
  const past = useQuery(releases());
  const [product, setProduct] = useState("");
  const [version, setVersion] = useState("");
  const [hardware, setHardware] = useState<string[]>([]);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<Error | null>(null);

  // The bytes leave as soon as the image is chosen; naming it takes a person about as long.
  const publish = async (e: FormEvent) => {
    e.preventDefault();
    setBusy(true);
    setError(null);
    try {
      const id = await upload.finished();
      const made = await read(
        api.POST("/releases", {
          body: { product: product.trim(), version: version.trim(), hardware, upload: id },
        }),
      );
      for (const queryKey of keysFor({ kind: "release", id: `${made.product}/${made.version}` })) {
        void client.invalidateQueries({ queryKey });
      }
      await navigate({
        to: "/releases/$product/$version",
        params: { product: made.product, version: made.version },
      });
    } catch (problem) {
      setError(problem instanceof Error ? problem : new Problem(0));
      setBusy(false);
    }
  };

  const fits = [...new Set(past.data?.items.flatMap((r) => r.hardware ?? []))];
  const server = known.data?.filter((p) => p.signing === "server").map((p) => p.name) ?? [];
  const offline = known.data?.some((p) => p.name === product.trim() && p.signing === "offline");
  return (
    <Page
      title="New release"
      lead="The server cuts the image into chunks, signs what they make, and publishes it."
    >
      <form className="new-release" onSubmit={(e) => void publish(e)}>
        <Card title="Image">
          {upload.file ? <Sending of={upload} /> : <DropImage onFile={upload.choose} />}
        </Card>
        <Card title="Name">
          <div className="stack">
            <div className="pair">
              <Autocomplete
                label="Product"
                placeholder="edge-gw"
                data={server}
                value={product}
                onChange={setProduct}
                maxLength={64}
                required
                error={offline && "Its key is held elsewhere: sign with `waxwing release sign`."}
              />
              <TextInput
                label="Version"
                placeholder="1.2.0"
                value={version}
                onChange={(e) => setVersion(e.currentTarget.value)}
                maxLength={64}
                required
              />
            </div>
            <TagsInput
              label="Hardware that it fits"
              description="The ids that devices give themselves. A device with another one never installs it."
              placeholder={hardware.length === 0 ? "qemu-arm64" : ""}
              data={fits}
              value={hardware}
              onChange={setHardware}
              acceptValueOnBlur
              clearable
              clearButtonProps={{ "aria-label": "Clear the hardware ids" }}
            />
            {error && <Trouble error={error} />}
            <div className="row">
              <Button
                type="submit"
                loading={busy}
                disabled={
                  !upload.file ||
                  !product.trim() ||
                  !version.trim() ||
                  hardware.length === 0 ||
                  offline === true
                }
              >
                Publish
              </Button>
              {!upload.file && <span className="faint">Choose an image first.</span>}
            </div>
          </div>
        </Card>
      </form>
    </Page>
  );
}
