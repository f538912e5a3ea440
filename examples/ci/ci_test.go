package ci_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waxwing-ota/waxwing/server"
	"github.com/waxwing-ota/waxwing/server/api"
	"github.com/waxwing-ota/waxwing/server/auth/oidc/oidctest"
	"github.com/waxwing-ota/waxwing/server/servertest"
)

// runner runs the script as a job does.
type runner struct {
	*testing.T
	*servertest.Server
	issuer *oidctest.Issuer
	bin    string // folder of waxwing
	out    string
}

func newRunner(t *testing.T) *runner {
	t.Helper()
	bin := t.TempDir()
	if b, err := exec.Command("go", "build", "-o", bin, "../../server/cmd/waxwing").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	i := oidctest.Start(t)
	s := servertest.Open(t, server.Options{Data: t.TempDir(), OIDCCA: i.CA()})
	r := &runner{T: t, Server: s, issuer: i, bin: bin, out: filepath.Join(t.TempDir(), "out")}
	r.operator("product", "create", "edge-gw")
	return r
}

func (r *runner) command(name string, args, env []string) (string, error) {
	c := exec.CommandContext(r.Context(), name, args...)
	home := r.TempDir()
	c.Env = append([]string{"PATH=" + r.bin + ":" + os.Getenv("PATH"), "HOME=" + home, "WAXWING_SERVER=" + r.Operator, "SSL_CERT_FILE=" + r.issuer.CA()}, env...)
	var both bytes.Buffer
	c.Stdout, c.Stderr = &both, &both
	err := c.Run()
	return both.String(), err
}

func (r *runner) operator(args ...string) string {
	r.Helper()
	text, err := r.command(filepath.Join(r.bin, "waxwing"), args, []string{"WAXWING_TOKEN=" + r.Token})
	if err != nil {
		r.Fatalf("%v: %v: %s", args, err, text)
	}
	return text
}

func (r *runner) script(step string, env ...string) (string, error) {
	r.Helper()
	return r.command("./release.sh", []string{step}, append([]string{
		"PRODUCT=edge-gw", "HARDWARE=qemu-arm64", "SOURCE=testdata/rootfs", "OUT=" + r.out,
	}, env...))
}

func (r *runner) must(step string, env ...string) string {
	r.Helper()
	text, err := r.script(step, env...)
	if err != nil {
		r.Fatalf("%s: %v: %s", step, err, text)
	}
	return text
}

func github(version string, more ...string) []string {
	return append([]string{
		"VERSION=" + version, "GITHUB_ACTIONS=true", "GITHUB_SERVER_URL=https://github.com", "GITHUB_REPOSITORY=acme/gateway",
		"GITHUB_SHA=59b1a4c0ffee59b1a4c0ffee59b1a4c0ffee59b1", "GITHUB_REF=refs/tags/v1.0.0", "GITHUB_RUN_ID=99",
		"GITHUB_WORKFLOW_REF=acme/gateway/.github/workflows/release.yml@refs/tags/v1.0.0",
	}, more...)
}

func gitlab(version string, more ...string) []string {
	return append([]string{
		"VERSION=" + version, "GITLAB_CI=true", "CI_PROJECT_URL=https://gitlab.com/acme/sensor", "CI_PROJECT_PATH=acme/sensor", "CI_SERVER_URL=https://gitlab.com",
		"CI_COMMIT_SHA=59b1a4c0ffee59b1a4c0ffee59b1a4c0ffee59b1", "CI_COMMIT_TAG=" + version, "CI_JOB_URL=https://gitlab.com/acme/sensor/-/jobs/97",
		"WAXWING_OIDC_AUDIENCE=https://updates.example.com",
	}, more...)
}

// The steps of the GitHub workflow: build without rights, publish with the identity of the job.
func TestGitHub(t *testing.T) {
	r := newRunner(t)
	r.operator("ci", "trust", "add", "--product", "edge-gw", "--github", "acme/gateway", "--repository-id", "4711", "--workflow", "release.yml",
		"--ref", "refs/tags/v*", "--environment", "production", "--scope", "upload,sign,publish", "--issuer", r.issuer.URL)
	identity := []string{"ACTIONS_ID_TOKEN_REQUEST_URL=" + r.issuer.URL + "/github?x=1", "ACTIONS_ID_TOKEN_REQUEST_TOKEN=job"}
	r.must("build", github("v1.0.0")...)
	first, err := os.ReadFile(filepath.Join(r.out, "image.img"))
	if err != nil {
		t.Fatal(err)
	}
	said := r.must("publish", github("v1.0.0", identity...)...)
	for _, want := range []string{
		"signed in as ci acme/gateway v1.0.0", "edge-gw  v1.0.0   published", "github acme/gateway", "59b1a4c0ffee", "product key", "2 packages",
		"git+https://github.com/acme/gateway@refs/tags/v1.0.0",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("the job does not say %q: %s", want, said)
		}
	}
	// Again, as when a job is started once more: the image is the same to the byte, and nothing changes.
	r.must("build", github("v1.0.0")...)
	second, err := os.ReadFile(filepath.Join(r.out, "image.img"))
	if err != nil || !bytes.Equal(first, second) {
		t.Errorf("the same source gives another image: %v", err)
	}
	if said := r.must("publish", github("v1.0.0", identity...)...); !strings.Contains(said, "pushed 0 of") {
		t.Errorf("the second run: %s", said)
	}
	var rel api.Release
	if err := json.Unmarshal([]byte(r.operator("release", "show", "edge-gw@v1.0.0", "-o", "json")), &rel); err != nil {
		t.Fatal(err)
	}
	if rel.Job == nil || *rel.Job.Repository != "acme/gateway" || rel.CreatedBy != "ci acme/gateway v1.0.0" {
		t.Errorf("%+v", rel.Job)
	}

	// Provenance of another commit, a changed image, and a job without identity.
	r.must("build", github("v1.1.0", "GITHUB_SHA=0000000000000000000000000000000000000000")...)
	if said, err := r.script("publish", github("v1.1.0", identity...)...); err == nil || !strings.Contains(said, "the job that hands it in is of 59b1a4c0ffee") {
		t.Errorf("%v %s", err, said)
	}
	if err := os.WriteFile(filepath.Join(r.out, "image.img"), []byte("swapped"), 0o600); err != nil {
		t.Fatal(err)
	}
	if said, err := r.script("publish", github("v1.2.0", identity...)...); err == nil || !strings.Contains(said, "image.img: FAILED") {
		t.Errorf("%v %s", err, said)
	}
	r.must("build", github("v1.3.0")...)
	if said, err := r.script("publish", github("v1.3.0")...); err == nil || !strings.Contains(said, "no token was given") {
		t.Errorf("%v %s", err, said)
	}
}

// The steps of the GitLab pipeline.
func TestGitLab(t *testing.T) {
	r := newRunner(t)
	host := strings.TrimPrefix(r.issuer.URL, "https://")
	r.operator("ci", "trust", "add", "--product", "edge-gw", "--gitlab", "acme/sensor", "--project-id", "815", "--ref", "refs/tags/v*",
		"--environment", "production", "--scope", "upload,sign,publish", "--issuer", r.issuer.URL, "--audience", "https://updates.example.com")
	identity := func(ref string) string {
		claims := oidctest.GitLab("acme/sensor", ref)
		claims["aud"], claims["ci_config_ref_uri"] = "https://updates.example.com", host+"/acme/sensor//.gitlab-ci.yml@"+ref
		return "WAXWING_OIDC_TOKEN=" + r.issuer.Sign(claims)
	}
	r.must("build", gitlab("v2.0.0")...)
	if said := r.must("publish", gitlab("v2.0.0", identity("refs/tags/v2.0.0"))...); !strings.Contains(said, "gitlab acme/sensor") || !strings.Contains(said, "2 packages") {
		t.Error(said)
	}
	// security case 71: a branch is not what is trusted.
	if said, err := r.script("publish", gitlab("v2.1.0", identity("refs/heads/main"))...); err == nil || !strings.Contains(said, "no pipeline that is trusted") {
		t.Errorf("%v %s", err, said)
	}
}

// The pipelines call the script that the tests run, and give the publishing job nothing but its identity.
func TestPipelines(t *testing.T) {
	for file, wants := range map[string][]string{
		"github/.github/workflows/release.yml": {"./release.sh build", "./release.sh publish", "id-token: write", "permissions: {}", "environment: production"},
		"gitlab/.gitlab-ci.yml":                {"./release.sh build", "./release.sh publish", "id_tokens:", "environment: production"},
	} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range wants {
			if !bytes.Contains(b, []byte(want)) {
				t.Errorf("%s lacks %q", file, want)
			}
		}
		for _, not := range []string{"secrets.", "WAXWING_TOKEN", "pull_request", "contents: write"} {
			if bytes.Contains(b, []byte(not)) {
				t.Errorf("%s has %q", file, not)
			}
		}
	}
}
