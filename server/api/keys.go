package api

import (
	"context"

	"github.com/waxwing-ota/waxwing/signing/repository"
)

// ListKeyRoles implements the operation.
func (s *Server) ListKeyRoles(ctx context.Context, _ ListKeyRolesRequestObject) (ListKeyRolesResponseObject, error) {
	all, err := s.Keys.Status(ctx)
	if err != nil {
		return nil, err
	}
	list := ListKeyRoles200JSONResponse{Items: make([]KeyRole, 0, len(all))}
	for _, r := range all {
		role := KeyRole{
			Role: r.Role, Threshold: r.Rule.Threshold, Keys: []PublicKey{}, Version: optional(r.Version), ExpiresAt: optional(r.Expires),
			DueAt: optional(r.Due), Online: r.Online,
		}
		for _, k := range r.Rule.Keys {
			role.Keys = append(role.Keys, PublicKey{Algorithm: string(k.Algorithm), Public: k.Bytes})
		}
		list.Items = append(list.Items, role)
	}
	return list, nil
}

// ImportKeys implements the operation.
func (s *Server) ImportKeys(ctx context.Context, q ImportKeysRequestObject) (ImportKeysResponseObject, error) {
	drafts := make([]*repository.Draft, 0, len(q.Body.Drafts))
	for _, b := range q.Body.Drafts {
		d, err := repository.ParseDraft(b)
		if err != nil {
			return nil, err
		}
		drafts = append(drafts, d)
	}
	if err := s.Keys.Import(ctx, drafts...); err != nil {
		return nil, err
	}
	return ImportKeys204Response{}, nil
}
