package live

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

//go:embed page
var page embed.FS

// handler serves the page, its events and its actions.
func handler(ctx context.Context, w *world, address string) http.Handler {
	files, err := fs.Sub(page, "page")
	if err != nil {
		panic(err) // the folder is part of the program
	}
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServerFS(files))
	mux.HandleFunc("GET /setup", func(rw http.ResponseWriter, _ *http.Request) { writeJSON(rw, w.setup()) })
	mux.HandleFunc("GET /events", func(rw http.ResponseWriter, r *http.Request) { w.events(ctx, rw, r) })
	mux.HandleFunc("POST /clients", action(func(r *http.Request) error {
		k := kindOf(r.FormValue("kind"))
		if k == nil {
			return fmt.Errorf("there is no client of the kind %q", r.FormValue("kind"))
		}
		only, _ := strconv.Atoi(r.FormValue("stage"))
		return w.add(k, only)
	}))
	mux.HandleFunc("POST /clients/{id}/{what}", action(func(r *http.Request) error {
		id, _ := strconv.Atoi(r.PathValue("id"))
		c, err := w.find(id)
		if err != nil {
			return err
		}
		switch r.PathValue("what") {
		case "step":
			w.step(c)
		case "hang-up":
			w.hangUp(c)
		default:
			return fmt.Errorf("a client cannot %q", r.PathValue("what"))
		}
		return nil
	}))
	mux.HandleFunc("POST /hang-up", action(func(*http.Request) error { w.hangUpAll(); return nil }))
	mux.HandleFunc("POST /stages/{n}", action(func(r *http.Request) error {
		n, _ := strconv.Atoi(r.PathValue("n"))
		return w.replace(ctx, n, r.FormValue("pitfall"))
	}))
	mux.HandleFunc("POST /experiments/{id}", action(func(r *http.Request) error {
		guess, err := strconv.Atoi(r.FormValue("guess"))
		if err != nil {
			return errors.New("choose an answer first")
		}
		return w.begin(ctx, r.PathValue("id"), guess)
	}))
	mux.HandleFunc("POST /proceed", action(func(*http.Request) error { return w.proceed() }))
	mux.HandleFunc("POST /leave", action(func(*http.Request) error { return w.leave() }))
	return guard(address, mux)
}

// guard refuses requests that do not come from the page itself. A page of another site could otherwise add clients,
// or read the state under a name that it lets resolve to 127.0.0.1.
func guard(address string, next http.Handler) http.Handler {
	_, port, _ := net.SplitHostPort(address)
	local := func(host string) bool {
		return host == net.JoinHostPort("127.0.0.1", port) || host == net.JoinHostPort("localhost", port)
	}
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		origin := strings.TrimPrefix(r.Header.Get("Origin"), "http://")
		if !local(r.Host) || r.Method != http.MethodGet && !local(origin) {
			http.Error(rw, "this page answers only itself", http.StatusForbidden)
			return
		}
		rw.Header().Set("Content-Security-Policy", "default-src 'self'")
		rw.Header().Set("X-Content-Type-Options", "nosniff")
		rw.Header().Set("Cache-Control", "no-store")
		next.ServeHTTP(rw, r)
	})
}

// action returns a handler that does something and answers with 204, or with 409 and the reason.
func action(do func(*http.Request) error) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(rw, r.Body, 4<<10)
		if err := do(r); err != nil {
			http.Error(rw, err.Error(), http.StatusConflict)
			return
		}
		rw.WriteHeader(http.StatusNoContent)
	}
}

func writeJSON(rw http.ResponseWriter, v any) {
	rw.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(rw).Encode(v)
}

// events sends every new state as a server-sent event, until the browser leaves or ctx ends.
func (w *world) events(ctx context.Context, rw http.ResponseWriter, r *http.Request) {
	rw.Header().Set("Content-Type", "text/event-stream")
	flush := http.NewResponseController(rw)
	for {
		s, news := w.current()
		b, err := json.Marshal(s)
		if err == nil && len(s.Stages) > 0 {
			_, err = fmt.Fprintf(rw, "data: %s\n\n", b)
		}
		if err != nil || flush.Flush() != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-r.Context().Done():
			return
		case <-news:
		}
	}
}

// setup is what the page needs once.
type setup struct {
	Timeout     string           `json:"timeout"` // of the servers
	Kinds       []kindView       `json:"kinds"`
	Pitfalls    []pitfallView    `json:"pitfalls"`
	Experiments []experimentView `json:"experiments"`
}

type kindView struct {
	ID     string `json:"id"`
	Button string `json:"button"`
	Words  string `json:"words"`
}

type experimentView struct {
	ID       string   `json:"id"`
	Title    string   `json:"title"`
	Question string   `json:"question"`
	Choices  []string `json:"choices"`
}

type pitfallView struct {
	Stage int    `json:"stage"`
	ID    string `json:"id"`
	Bug   string `json:"bug"`
}

func (w *world) setup() setup {
	s := setup{Timeout: inMinutes(w.timeout)}
	for _, k := range kinds {
		s.Kinds = append(s.Kinds, kindView{k.id, k.button, k.words})
	}
	for _, p := range w.all {
		s.Pitfalls = append(s.Pitfalls, pitfallView{p.Stage, p.ID, p.Bug})
	}
	for _, e := range experiments {
		s.Experiments = append(s.Experiments, experimentView{e.id, e.title, e.question, e.choices})
	}
	return s
}

// inMinutes writes whole minutes for people.
func inMinutes(d time.Duration) string {
	if d%time.Minute == 0 && d > time.Minute {
		return fmt.Sprintf("%d minutes", d/time.Minute)
	}
	return d.String()
}
