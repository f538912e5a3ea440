package fleet

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/server/identity"
	"github.com/waxwing-ota/waxwing/server/store"
)

// enrollAgain is how long after its enrolment a device may ask once more with the same token and key, because the answer
// may have been lost on its way.
const enrollAgain = 10 * time.Minute

// Enrolment is a device and its new certificate.
type Enrolment struct {
	Device      Device
	Certificate []byte // PEM
}

// Enroll lets a device in. Nothing changes unless it succeeds. Errors match ErrToken (and the reason), ErrExists,
// ErrRejected, ErrInvalid or identity.ErrRequest.
//
// The same device asking again within ten minutes with the same token and key is answered again and takes no use of the
// token. Labels of the token outweigh those that the device claims for itself.
func (f *Fleet) Enroll(ctx context.Context, r protocol.EnrollRequest) (*Enrolment, error) {
	f.enrolling.Lock()
	defer f.enrolling.Unlock()
	for {
		e, err := f.enroll(ctx, r)
		if !errors.Is(err, store.ErrConflict) { // another server took a use of the token, or the id
			return e, err
		}
	}
}

func (f *Fleet) enroll(ctx context.Context, r protocol.EnrollRequest) (*Enrolment, error) {
	token, err := f.token(ctx, r.Token)
	if err != nil {
		return nil, err
	}
	request, err := identity.ParseRequest(r.CSR)
	if err != nil {
		return nil, err
	}
	now := f.now().UTC().Truncate(time.Second)
	d, err := newDevice(r, request.Key, token.Value, now)
	if err != nil {
		return nil, err
	}
	certificate, err := f.identity.Device(d.ID, request)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	old, err := f.devices.Get(ctx, d.ID)
	switch {
	case err == nil:
		if err := mayRepeat(old.Value, d); err != nil {
			return nil, err
		}
		return &Enrolment{Device: old.Value, Certificate: certificate}, nil
	case !errors.Is(err, store.ErrNotFound):
		return nil, err
	}
	if err := token.Value.usable(now); err != nil {
		return nil, err
	}
	b := store.NewBatch(f.store)
	f.tokens.UnchangedIn(b, token.Key, token.Revision) // also: not revoked meanwhile
	f.devices.UnchangedIn(b, d.ID, 0)
	if token.Value.Uses > 0 {
		token.Value.Uses--
		if err := f.tokens.PutIn(b, token.Key, token.Value); err != nil {
			return nil, err
		}
	}
	if err := f.devices.PutIn(b, d.ID, d); err != nil {
		return nil, err
	}
	revision, err := b.CommitAt(ctx)
	if err != nil {
		return nil, err
	}
	f.mirror.putDevices(store.Entry[Device]{Key: d.ID, Value: d, Revision: revision})
	return &Enrolment{Device: d, Certificate: certificate}, nil
}

// newDevice is the device that a request describes. Errors match ErrInvalid.
func newDevice(r protocol.EnrollRequest, key string, t Token, now time.Time) (Device, error) {
	d := Device{
		ID: r.ID, Hardware: r.Hardware, Labels: map[string]string{}, Admission: Accepted,
		Key: key, EnrolledAt: now, EnrolledBy: t.ID,
	}
	if d.ID == "" {
		d.ID = "d-" + key[:16]
	}
	if t.Approve {
		d.Admission = Pending
	}
	maps.Copy(d.Labels, r.Labels)
	maps.Copy(d.Labels, t.Labels)
	if err := firmware.CheckName("device", d.ID); err != nil {
		return d, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if err := firmware.CheckName("hardware", d.Hardware); err != nil {
		return d, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return d, checkLabels(d.Labels)
}

// mayRepeat says whether d is old asking again.
func mayRepeat(old, d Device) error {
	switch {
	case old.Key != d.Key:
		return fmt.Errorf("%w: %s, with another key; enrol under another id", ErrExists, d.ID)
	case old.Admission == Rejected:
		return fmt.Errorf("%w: %s; a person must accept it again", ErrRejected, d.ID)
	case old.EnrolledBy != d.EnrolledBy || d.EnrolledAt.Sub(old.EnrolledAt) > enrollAgain:
		return fmt.Errorf("%w: %s enrolled at %s; it can renew its certificate with its key, or enrol under another id",
			ErrExists, d.ID, old.EnrolledAt.Format(time.RFC3339))
	}
	return nil
}

// Renew issues a new certificate for a device's own key. Errors match ErrUnknown, ErrRejected, ErrKey or
// identity.ErrRequest.
func (f *Fleet) Renew(_ context.Context, device string, csr []byte) ([]byte, error) {
	request, err := identity.ParseRequest(csr)
	if err != nil {
		return nil, err
	}
	// The key stays: it is what admission is bound to, and a device that loses power between the answer and writing a
	// new key down would be locked out.
	if _, err := f.Authenticate(device, request.Key); err != nil {
		return nil, err
	}
	return f.identity.Device(device, request)
}
