package fleet

import "errors"

// Errors that callers tell apart. Each comes wrapped in a sentence that says what to do.
var (
	ErrUnknown  = errors.New("no such device in the fleet")
	ErrRejected = errors.New("the device is shut out of the fleet")
	ErrPending  = errors.New("the device waits for approval")
	ErrExists   = errors.New("a device of this id exists")
	ErrKey      = errors.New("the key is not the device's own")
	ErrInvalid  = errors.New("not acceptable")

	// ErrToken is matched by all errors of enrolment tokens.
	ErrToken        = errors.New("enrolment token refused")
	ErrTokenUnknown = errors.New("no such token")
	ErrTokenExpired = errors.New("the token has expired")
	ErrTokenUsed    = errors.New("the token is used up")

	ErrGroup        = errors.New("no such group")
	ErrLabelUnknown = errors.New("no device has such a label")
	ErrReport       = errors.New("report refused")
	ErrEnded        = errors.New("the fleet has ended")
)
