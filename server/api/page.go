package api

import (
	"encoding/base64"
	"slices"
)

const defaultPage = 50

func pageSize(asked *PageSize) int {
	if asked == nil {
		return defaultPage
	}
	return *asked
}

// page returns the part of items that follows the one named by the token, and the token of the next part.
func page[T any](items []T, token *PageToken, size *PageSize, name func(T) string) ([]T, *string, error) {
	from := 0
	if value(token) != "" {
		after, err := readToken(*token)
		if err != nil {
			return nil, nil, err
		}
		at := slices.IndexFunc(items, func(t T) bool { return name(t) == after })
		if at < 0 {
			return nil, nil, errPageToken
		}
		from = at + 1
	}
	to := min(from+pageSize(size), len(items))
	var next *string
	if to < len(items) {
		next = optional(writeToken(name(items[to-1])))
	}
	return items[from:to], next, nil
}

// Tokens are names in base64url, so that nobody is tempted to make one.
func writeToken(name string) string { return base64.RawURLEncoding.EncodeToString([]byte(name)) }

func readToken(token string) (string, error) {
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return "", errPageToken
	}
	return string(b), nil
}

// value returns what p points to, or the zero value.
func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// optional returns a pointer to v, or nil for the zero value: the contract leaves out what is not known.
func optional[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}
