#!/bin/sh
# Build an image, say how it was built and what is in it, and publish it: the steps that both pipelines call.
#
#   ./release.sh build     image.img, sbom.spdx.json, provenance.json in $OUT; needs no server and no rights
#   ./release.sh publish   signs in as the CI job, pushes what the server lacks, has it signed, publishes, attests
#
# In:  WAXWING_SERVER  https://updates.example.com    PRODUCT, VERSION, HARDWARE
#      SOURCE  folder that becomes the image           OUT  folder of the results (default: out)
# The rest comes from the platform: GITHUB_… or CI_…. There is no secret among it.
set -eu

: "${PRODUCT:?}" "${VERSION:?}"
OUT=${OUT:-out}

# What the platform says about this run.
if [ -n "${GITHUB_ACTIONS:-}" ]; then
	repository="$GITHUB_SERVER_URL/$GITHUB_REPOSITORY" commit=$GITHUB_SHA ref=$GITHUB_REF
	builder="$GITHUB_SERVER_URL/$GITHUB_WORKFLOW_REF" run="$repository/actions/runs/$GITHUB_RUN_ID/attempts/${GITHUB_RUN_ATTEMPT:-1}"
elif [ -n "${GITLAB_CI:-}" ]; then
	repository=$CI_PROJECT_URL commit=$CI_COMMIT_SHA ref=${CI_COMMIT_TAG:-$CI_COMMIT_BRANCH}
	builder="$CI_SERVER_URL/$CI_PROJECT_PATH//${CI_CONFIG_PATH:-.gitlab-ci.yml}" run=$CI_JOB_URL
else
	echo "release.sh: neither GitHub Actions nor GitLab CI" >&2
	exit 1
fi

# text A as a JSON string.
json() { printf '"%s"' "$(printf %s "$1" | sed 's/[\\"]/\\&/g')"; }

build() {
	: "${SOURCE:?}"
	mkdir -p "$OUT"
	started=$(date -u +%Y-%m-%dT%H:%M:%SZ)

	# The image. The same source gives the same bytes: names in order, no owner, the time of the commit. Put your own build
	# here: Yocto, Buildroot, debos, mkosi.
	tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@${SOURCE_DATE_EPOCH:-0}" -C "$SOURCE" -cf "$OUT/image.img" .

	# The SBOM: one entry for each file. Put syft, or what your build system makes, here.
	{
		printf '{"spdxVersion":"SPDX-2.3","SPDXID":"SPDXRef-DOCUMENT","dataLicense":"CC0-1.0","name":%s,' "$(json "$PRODUCT-$VERSION")"
		printf '"documentNamespace":%s,' "$(json "$run/sbom")"
		printf '"creationInfo":{"created":"%s","creators":["Tool: release.sh"]},"packages":[' "$started"
		first=1 n=0
		(cd "$SOURCE" && find . -type f | LC_ALL=C sort) | while IFS= read -r file; do
			[ $first = 1 ] || printf ,
			first=0 n=$((n + 1))
			printf '{"SPDXID":"SPDXRef-%d","name":%s,"downloadLocation":"NOASSERTION","checksums":[{"algorithm":"SHA256","checksumValue":"%s"}]}' \
				$n "$(json "$file")" "$(sha256sum "$SOURCE/$file" | cut -c1-64)"
		done
		printf ']}\n'
	} >"$OUT/sbom.spdx.json"

	# The provenance: SLSA v1. waxwing makes it a statement about the release and has it signed.
	cat >"$OUT/provenance.json" <<END
{
  "buildDefinition": {
    "buildType": "https://github.com/waxwing-ota/waxwing/tree/main/examples/ci",
    "externalParameters": {"product": $(json "$PRODUCT"), "version": $(json "$VERSION"), "ref": $(json "$ref")},
    "resolvedDependencies": [{"uri": $(json "git+$repository@$ref"), "digest": {"gitCommit": $(json "$commit")}}]
  },
  "runDetails": {
    "builder": {"id": $(json "$builder")},
    "metadata": {"invocationId": $(json "$run"), "startedOn": "$started", "finishedOn": "$(date -u +%Y-%m-%dT%H:%M:%SZ)"}
  }
}
END
	(cd "$OUT" && sha256sum image.img sbom.spdx.json provenance.json >SHA256SUMS)
}

publish() {
	: "${WAXWING_SERVER:?}" "${HARDWARE:?}"
	# The job that publishes trusts nothing but what the build job says it made.
	(cd "$OUT" && sha256sum -c SHA256SUMS >&2)
	waxwing release create --product "$PRODUCT" --version "$VERSION" --hardware "$HARDWARE" --image "$OUT/image.img" \
		--provenance "$OUT/provenance.json" --sbom "$OUT/sbom.spdx.json"
	waxwing release show "$PRODUCT@$VERSION"
}

case "${1:-}" in
build) build ;;
publish) publish ;;
*)
	echo "usage: release.sh build|publish" >&2
	exit 2
	;;
esac
