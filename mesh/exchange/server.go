package exchange

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/waxwing-ota/waxwing/firmware"
)

// Server answers neighbours.
type Server struct {
	o      Options
	served atomic.Int64

	mu        sync.Mutex
	trades    map[firmware.Digest]trade
	interests map[firmware.Digest]interest
}

type trade struct {
	board *Board
	goods Goods
}

// Goods are what neighbours take.
type Goods struct {
	Chunks  firmware.Source
	Patches Patches // of the board's pack; nil: none
}

// Patches are groups of a pack as they crossed the uplink.
type Patches interface {
	// Held returns the numbers of those that are here, ascending.
	Held() []int
	// Patch returns one of them. The error matches firmware.ErrNotFound when it is not kept.
	Patch(group int) ([]byte, error)
}

// Options configure NewServer.
type Options struct {
	TLS *tls.Config
	// Met is called with the address that a greeting neighbour says to answer at; it must not block. Nil: nobody asks.
	Met func(netip.AddrPort)
	// Objects returns small content by digest, such as an index, or nil when it lacks it. Nil: there is none.
	Objects func(firmware.Digest) []byte
	// Serve asks whether so many bytes of a chunk or a patch may go to a neighbour, waits for their turn, less than a
	// neighbour waits for an answer, and returns the function to say how many went. Nil: they may.
	Serve func(ctx context.Context, n int64) (went func(int64), err error)
	// Closed returns why Serve refuses everything for a while, or nil: neighbours are not to count on this device then. Nil: it
	// never does.
	Closed func() error
}

// NewServer returns a server that trades in no chunks yet.
func NewServer(o Options) *Server {
	return &Server{o: o, trades: map[firmware.Digest]trade{}, interests: map[firmware.Digest]interest{}}
}

// Trade lets neighbours see a board and take goods, until stop is called or the same swarm is traded anew.
func (s *Server) Trade(id firmware.Digest, board *Board, goods Goods) (stop func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trades[id] = trade{board, goods}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.trades[id].board == board {
			delete(s.trades, id)
		}
	}
}

// Served returns how many bytes neighbours have taken.
func (s *Server) Served() int64 { return s.served.Load() }

// Serve answers on a listener until ctx ends.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /mesh/v1/hello", s.hello)
	mux.HandleFunc("GET /mesh/v1/swarms/{id}", s.swarm)
	mux.HandleFunc("GET /mesh/v1/swarms/{id}/patches/{pack}/{group}", s.patch)
	mux.HandleFunc("GET /mesh/v1/chunks/{id}", s.chunk)
	mux.HandleFunc("GET /mesh/v1/objects/{id}", s.object)
	server := &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: idleTime, MaxHeaderBytes: 8 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    log.New(io.Discard, "", 0), // strangers who fail the handshake are no news
	}
	config := s.o.TLS.Clone()
	config.NextProtos = []string{"http/1.1"}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	door := newDoor(l)
	server.ConnState = door.note
	err := server.Serve(tls.NewListener(door, config))
	if errors.Is(err, http.ErrServerClosed) && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// hello lets a neighbour be known to whom it knows: one that has just started finds others at once, and they would find
// it only when they next ask. Its host is the one it speaks from, whatever it says.
func (s *Server) hello(w http.ResponseWriter, r *http.Request) {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	port, perr := strconv.ParseUint(r.URL.Query().Get("port"), 10, 16)
	if s.o.Met != nil && err == nil && perr == nil && port > 0 {
		s.o.Met(netip.AddrPortFrom(from.Addr().Unmap(), uint16(port)))
	}
	w.WriteHeader(http.StatusNoContent)
}

// trade returns the swarm that is asked about.
func (s *Server) trade(r *http.Request) (trade, bool) {
	id, err := firmware.ParseDigest(r.PathValue("id"))
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.trades[id]
	return t, ok && err == nil
}

func (s *Server) swarm(w http.ResponseWriter, r *http.Request) {
	t, ok := s.trade(r)
	if !ok {
		http.Error(w, "this device does not trade in that", http.StatusNotFound)
		return
	}
	if s.o.Closed != nil {
		if err := s.o.Closed(); err != nil {
			refuse(w, err)
			return
		}
	}
	revision, _ := strconv.ParseUint(r.URL.Query().Get("rev"), 10, 64) // not a number: not waiting
	if how := r.URL.Query().Get("follow"); how != "" {
		leave, ok := t.board.Enter(deviceOf(r.TLS), how == followFirst)
		if !ok {
			http.Error(w, "this device has followers enough", http.StatusTooManyRequests)
			return
		}
		defer leave()
	}
	ctx, cancel := context.WithTimeout(r.Context(), pollTime)
	defer cancel()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(t.board.Await(ctx, revision)) // a neighbour that hung up does not matter
}

func (s *Server) patch(w http.ResponseWriter, r *http.Request) {
	t, ok := s.trade(r)
	group, err := strconv.Atoi(r.PathValue("group"))
	if ok && err == nil && t.goods.Patches != nil && t.board.pack() == r.PathValue("pack") {
		if body, err := t.goods.Patches.Patch(group); err == nil {
			s.serve(w, r, body)
			return
		}
	}
	http.Error(w, "this device does not have that patch", http.StatusNotFound)
}

func (s *Server) chunk(w http.ResponseWriter, r *http.Request) {
	id, err := firmware.ParseDigest(r.PathValue("id"))
	if err != nil {
		http.Error(w, "that is no chunk id", http.StatusBadRequest)
		return
	}
	for _, source := range s.sources() {
		if !source.Has(id) {
			continue
		}
		if plain, err := source.Chunk(r.Context(), id); err == nil {
			s.serve(w, r, plain)
			return
		}
	}
	http.Error(w, "this device does not have that chunk", http.StatusNotFound)
}

func (s *Server) object(w http.ResponseWriter, r *http.Request) {
	id, err := firmware.ParseDigest(r.PathValue("id"))
	if err != nil {
		http.Error(w, "that is no digest", http.StatusBadRequest)
		return
	}
	if s.o.Objects != nil {
		if b := s.o.Objects(id); b != nil {
			s.hand(w, b)
			return
		}
	}
	if i := s.Interest(id); i != None {
		w.Header().Set(interestHeader, string(i))
		http.Error(w, "this device does not have that yet", http.StatusServiceUnavailable)
		return
	}
	http.Error(w, "this device does not have that", http.StatusNotFound)
}

// serve gives bytes of a payload to a neighbour, when they may go.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, b []byte) {
	if s.o.Serve == nil {
		s.hand(w, b)
		return
	}
	went, err := s.o.Serve(r.Context(), int64(len(b)))
	if err != nil {
		refuse(w, err)
		return
	}
	went(s.hand(w, b))
}

// refuse tells a neighbour that a limit holds this device back, and until when if the error knows.
func refuse(w http.ResponseWriter, err error) {
	after := time.Second
	var until interface{ Again() time.Time }
	if errors.As(err, &until) {
		after = min(max(time.Until(until.Again()), after), longestAfter)
	}
	w.Header().Set("Retry-After", strconv.Itoa(int((after+time.Second-1)/time.Second)))
	w.WriteHeader(http.StatusTooManyRequests) // without a body, the connection can be used again
}

// hand gives bytes to a neighbour and returns how many it took; a slow reader is let go.
func (s *Server) hand(w http.ResponseWriter, b []byte) int64 {
	control := http.NewResponseController(w)
	_ = control.SetWriteDeadline(time.Now().Add(chunkTime(len(b))))
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	n, _ := w.Write(b)
	s.served.Add(int64(n))
	_ = control.SetWriteDeadline(time.Time{})
	return int64(n)
}

func (s *Server) sources() []firmware.Source {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]firmware.Source, 0, len(s.trades))
	for _, t := range s.trades {
		out = append(out, t.goods.Chunks)
	}
	return out
}
