package repository

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/signing/keys"
	"github.com/waxwing-ota/waxwing/signing/public"
)

// Draft is an offline document, root or targets, on its way from holder to holder. It carries all that is needed to see
// what it changes and who must still sign, so that a machine without a network can do both.
type Draft struct {
	Schema   int               `json:"schema"` // 1
	Role     string            `json:"role"`   // root or targets
	Document json.RawMessage   `json:"document"`
	Before   json.RawMessage   `json:"before,omitempty"` // the role's document that is replaced; none: this is the first
	Root     json.RawMessage   `json:"root,omitempty"`   // for targets: the root that says who signs it
	Files    map[string][]byte `json:"files,omitempty"`  // targets that are new with it, by name
}

// maxDraft bounds a draft, in bytes.
const maxDraft = 16 << 20

// OfflineError says that a change needs signatures of keys that are not here, and carries what is to be signed.
type OfflineError struct {
	Drafts []*Draft // in the order in which they are to be imported, together
}

func (e *OfflineError) Error() string {
	var names []string
	for _, d := range e.Drafts {
		names = append(names, d.Role)
	}
	return fmt.Sprintf("%s must be signed by offline keys; draft the change, have it signed and import it with `waxwing keys`",
		strings.Join(names, " and "))
}

// Is matches ErrOffline.
func (e *OfflineError) Is(target error) bool { return target == ErrOffline }

// ErrOffline is matched by errors about keys that are not here.
var ErrOffline = errors.New("the key for this is not here")

// ParseDraft reads a draft. The error matches ErrInvalid.
func ParseDraft(b []byte) (*Draft, error) {
	if len(b) > maxDraft {
		return nil, fmt.Errorf("draft: %w: %d bytes, over %d", ErrInvalid, len(b), maxDraft)
	}
	in := json.NewDecoder(bytes.NewReader(b))
	in.DisallowUnknownFields()
	d := new(Draft)
	if err := in.Decode(d); err != nil {
		return nil, fmt.Errorf("draft: %w: %w", ErrInvalid, err)
	}
	if d.Schema != 1 {
		return nil, fmt.Errorf("draft: %w: schema 1 expected", ErrInvalid)
	}
	_, err := d.State()
	return d, err
}

// Encode writes a draft for people to pass on.
func (d *Draft) Encode() ([]byte, error) {
	b, err := json.MarshalIndent(d, "", " ")
	return append(b, '\n'), err
}

// State is how far a draft is.
type State struct {
	Role    string    `json:"role"`
	Version int64     `json:"version"`
	Expires time.Time `json:"expires"`
	Needs   []Need    `json:"needs"`
	Changes []string  `json:"changes"` // for people
}

// Need is a rule that a draft must fulfil.
type Need struct {
	Of        string   `json:"of"` // such as "root 3, which is replaced"
	Threshold int      `json:"threshold"`
	Signed    []string `json:"signed"`  // key ids
	Missing   []string `json:"missing"` // key ids that could sign
	rule      public.Rule
}

// Complete reports whether all who must have signed.
func (s *State) Complete() bool {
	return !slices.ContainsFunc(s.Needs, func(n Need) bool { return len(n.Signed) < n.Threshold })
}

// State verifies what was signed and says what is missing. The error matches ErrInvalid.
func (d *Draft) State() (*State, error) {
	var s *State
	var err error
	switch d.Role {
	case metadata.ROOT:
		s, err = d.rootState()
	case metadata.TARGETS:
		s, err = d.targetsState()
	default:
		err = fmt.Errorf("a role %q is not signed offline", d.Role)
	}
	if err != nil && !errors.Is(err, ErrInvalid) {
		err = fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if err != nil {
		return nil, fmt.Errorf("draft: %w", err)
	}
	return s, nil
}

func (d *Draft) rootState() (*State, error) {
	md, own, err := rootAndPlan(d.Document)
	if err != nil {
		return nil, err
	}
	if err := own.Check(); err != nil {
		return nil, err
	}
	s := &State{Role: d.Role, Version: md.Signed.Version, Expires: md.Signed.Expires}
	var before Plan
	if d.Before != nil {
		old, plan, err := rootAndPlan(d.Before)
		if err != nil {
			return nil, err
		}
		before = plan
		if md.Signed.Version != old.Signed.Version+1 {
			return nil, fmt.Errorf("root %d cannot follow root %d", md.Signed.Version, old.Signed.Version)
		}
		n, err := need(md, fmt.Sprintf("root %d, which is replaced", old.Signed.Version), before.Root)
		if err != nil {
			return nil, err
		}
		s.Needs = append(s.Needs, n)
	} else if md.Signed.Version != 1 {
		return nil, fmt.Errorf("root %d, and not the one before it", md.Signed.Version)
	}
	n, err := need(md, fmt.Sprintf("root %d itself", md.Signed.Version), own.Root)
	s.Needs = append(s.Needs, n)
	s.Changes = planChanges(before, own)
	return s, err
}

func (d *Draft) targetsState() (*State, error) {
	_, plan, err := rootAndPlan(d.Root)
	if err != nil {
		return nil, err
	}
	md, err := targetsFrom(d.Document)
	if err != nil {
		return nil, err
	}
	before := metadata.Targets()
	if d.Before != nil {
		if before, err = targetsFrom(d.Before); err != nil {
			return nil, err
		}
		if md.Signed.Version <= before.Signed.Version {
			return nil, fmt.Errorf("targets %d cannot follow targets %d", md.Signed.Version, before.Signed.Version)
		}
	}
	for name, content := range d.Files {
		if t, ok := md.Signed.Targets[name]; !ok || !t.Equal(*target(content)) {
			return nil, fmt.Errorf("target %s is not listed with these bytes", name)
		}
	}
	n, err := need(md, "role targets", plan.Targets)
	if err != nil {
		return nil, err
	}
	changes, err := targetsChanges(&before.Signed, &md.Signed, d.Files)
	return &State{Role: d.Role, Version: md.Signed.Version, Expires: md.Signed.Expires, Needs: []Need{n}, Changes: changes}, err
}

func need[T metadata.Roles](md *metadata.Metadata[T], of string, rule public.Rule) (Need, error) {
	n := Need{Of: of, Threshold: rule.Threshold, Signed: []string{}, Missing: []string{}, rule: rule}
	good, err := signedBy(md, rule)
	for _, k := range rule.Keys {
		if holds(public.Rule{Keys: good}, k) {
			n.Signed = append(n.Signed, k.ID())
		} else {
			n.Missing = append(n.Missing, k.ID())
		}
	}
	return n, err
}

// Sign adds a holder's signature. The error matches ErrInvalid when the draft asks for none of this key.
func (d *Draft) Sign(by keys.Signer) error {
	s, err := d.State()
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(s.Needs, func(n Need) bool { return holds(n.rule, by.Public()) }) {
		return fmt.Errorf("%w: %s %d asks for no signature of key %s", ErrInvalid, d.Role, s.Version, by.Public().ID())
	}
	if d.Role == metadata.ROOT {
		d.Document, err = withSignature[metadata.RootType](d.Document, by)
	} else {
		d.Document, err = withSignature[metadata.TargetsType](d.Document, by)
	}
	return err
}

func withSignature[T metadata.Roles](document []byte, by keys.Signer) ([]byte, error) {
	md, err := new(metadata.Metadata[T]).FromBytes(document)
	if err != nil {
		return nil, err
	}
	if err := addSignature(md, by); err != nil {
		return nil, err
	}
	return md.ToBytes(true)
}

// Combine returns a draft with the good signatures of all of them, which must be copies of the same one.
func Combine(drafts ...*Draft) (*Draft, error) {
	if len(drafts) == 0 {
		return nil, fmt.Errorf("%w: nothing to combine", ErrInvalid)
	}
	if drafts[0].Role == metadata.ROOT {
		return combine[metadata.RootType](drafts)
	}
	return combine[metadata.TargetsType](drafts)
}

func combine[T metadata.Roles](drafts []*Draft) (*Draft, error) {
	out := *drafts[0]
	s, err := out.State()
	if err != nil {
		return nil, err
	}
	all, err := new(metadata.Metadata[T]).FromBytes(out.Document)
	if err != nil {
		return nil, err
	}
	all.Signatures = nil
	message, err := cjson.EncodeCanonical(all.Signed)
	if err != nil {
		return nil, err
	}
	for _, d := range drafts {
		if d.Role != out.Role {
			return nil, fmt.Errorf("%w: a draft of %s beside one of %s", ErrInvalid, d.Role, out.Role)
		}
		md, err := new(metadata.Metadata[T]).FromBytes(d.Document)
		if err != nil {
			return nil, fmt.Errorf("draft: %w: %w", ErrInvalid, err)
		}
		other, err := cjson.EncodeCanonical(md.Signed)
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(message, other) {
			return nil, fmt.Errorf("%w: drafts of different documents; sign copies of one", ErrInvalid)
		}
		for _, n := range s.Needs {
			good, err := signedBy(md, n.rule)
			if err != nil {
				return nil, err
			}
			for _, k := range good {
				_, id, _ := keys.TUF(k)
				at := slices.IndexFunc(md.Signatures, func(s metadata.Signature) bool { return s.KeyID == id })
				put(all, md.Signatures[at])
			}
		}
	}
	out.Document, err = all.ToBytes(true)
	return &out, err
}

// Digest names what a draft says, whoever has signed it: holders compare it by voice before they sign.
func (d *Draft) Digest() (firmware.Digest, error) {
	var envelope struct {
		Signed json.RawMessage `json:"signed"`
	}
	if err := json.Unmarshal(d.Document, &envelope); err != nil {
		return firmware.Digest{}, fmt.Errorf("draft: %w: %w", ErrInvalid, err)
	}
	message, err := cjson.EncodeCanonical(envelope.Signed)
	return firmware.Sum(message), err
}

func rootAndPlan(document []byte) (*metadata.Metadata[metadata.RootType], Plan, error) {
	md, err := new(metadata.Metadata[metadata.RootType]).FromBytes(document)
	if err != nil {
		return nil, Plan{}, fmt.Errorf("root: %w", err)
	}
	p, err := planOf(&md.Signed)
	return md, p, err
}

func targetsFrom(document []byte) (*metadata.Metadata[metadata.TargetsType], error) {
	md, err := new(metadata.Metadata[metadata.TargetsType]).FromBytes(document)
	if err != nil {
		return nil, fmt.Errorf("targets: %w", err)
	}
	return md, nil
}
