package api

import (
	"context"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/server/release"
)

// CreateUpload implements the operation.
func (s *Server) CreateUpload(ctx context.Context, q CreateUploadRequestObject) (CreateUploadResponseObject, error) {
	u, err := s.Releases.CreateUpload(ctx, value(q.Body.Name), q.Body.Size, callerOf(ctx).Name)
	if err != nil {
		return nil, err
	}
	return CreateUpload201JSONResponse(uploadView(u)), nil
}

// GetUpload implements the operation.
func (s *Server) GetUpload(ctx context.Context, q GetUploadRequestObject) (GetUploadResponseObject, error) {
	u, err := s.Releases.Upload(ctx, q.Id)
	if err != nil {
		return nil, err
	}
	return GetUpload200JSONResponse(uploadView(u)), nil
}

// AppendUpload implements the operation.
func (s *Server) AppendUpload(ctx context.Context, q AppendUploadRequestObject) (AppendUploadResponseObject, error) {
	u, err := s.Releases.Append(ctx, q.Id, q.Params.Offset, q.Body)
	if err != nil {
		return nil, err
	}
	return AppendUpload200JSONResponse(uploadView(u)), nil
}

// DeleteUpload implements the operation.
func (s *Server) DeleteUpload(ctx context.Context, q DeleteUploadRequestObject) (DeleteUploadResponseObject, error) {
	if err := s.Releases.DeleteUpload(ctx, q.Id); err != nil {
		return nil, err
	}
	return DeleteUpload204Response{}, nil
}

// MissingChunks implements the operation.
func (s *Server) MissingChunks(ctx context.Context, q MissingChunksRequestObject) (MissingChunksResponseObject, error) {
	ids := make([]firmware.ChunkID, len(q.Body.Ids))
	for i, text := range q.Body.Ids {
		id, err := firmware.ParseDigest(text)
		if err != nil {
			return nil, err
		}
		ids[i] = id
	}
	missing, err := s.Releases.MissingChunks(ctx, ids)
	if err != nil {
		return nil, err
	}
	answer := MissingChunks200JSONResponse{Ids: make([]SHA256, len(missing))}
	for i, id := range missing {
		answer.Ids[i] = id.String()
	}
	return answer, nil
}

// PutChunk implements the operation.
func (s *Server) PutChunk(ctx context.Context, q PutChunkRequestObject) (PutChunkResponseObject, error) {
	id, err := firmware.ParseDigest(q.Sha256)
	if err != nil {
		return nil, err
	}
	if err := s.Releases.PutChunk(ctx, id, q.Body); err != nil {
		return nil, err
	}
	return PutChunk204Response{}, nil
}

// PutIndex implements the operation.
func (s *Server) PutIndex(ctx context.Context, q PutIndexRequestObject) (PutIndexResponseObject, error) {
	sum, err := firmware.ParseDigest(q.Sha256)
	if err != nil {
		return nil, err
	}
	if err := s.Releases.PutIndex(ctx, sum, q.Body); err != nil {
		return nil, err
	}
	return PutIndex204Response{}, nil
}

func uploadView(u release.Upload) Upload {
	return Upload{Id: u.ID, Name: optional(u.Name), Size: u.Size, Offset: u.Offset}
}
