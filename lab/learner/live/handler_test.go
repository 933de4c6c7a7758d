package live

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

const address = "127.0.0.1:8090"

// nobody returns a world without servers.
func nobody() *world {
	w := &world{news: make(chan struct{}), state: &state{Stages: []stageView{{N: 1, Name: "one"}}}}
	for i := range w.stages {
		w.stages[i] = &stage{n: i + 1, state: "ended", said: "it is a test"}
	}
	return w
}

// TestGuard checks that only the page itself may read and act: another site must not drive it, with its own name or
// with one that resolves to 127.0.0.1.
func TestGuard(t *testing.T) {
	h := handler(t.Context(), nobody(), address)
	for _, row := range []struct {
		method, target, host, origin string
		status                       int
	}{
		{"GET", "/", address, "", 200},
		{"GET", "/script.js", "localhost:8090", "", 200},
		{"GET", "/setup", "rebound.example:8090", "", 403},
		{"GET", "/setup", "127.0.0.1:9999", "", 403},
		{"POST", "/hang-up", address, "http://" + address, 204},
		{"POST", "/hang-up", address, "", 403},
		{"POST", "/hang-up", address, "http://other.example", 403},
		{"POST", "/hang-up", address, "null", 403},
		{"GET", "/hang-up", address, "", 404},
		{"POST", "/clients", address, "http://" + address, 409},
		{"POST", "/clients/7/step", address, "http://" + address, 409},
		{"POST", "/stages/9", address, "http://" + address, 409},
		{"POST", "/experiments/pool", address, "http://" + address, 409}, // without a guess
	} {
		r := httptest.NewRequest(row.method, row.target, nil)
		r.Host = row.host
		if row.origin != "" {
			r.Header.Set("Origin", row.origin)
		}
		answer := httptest.NewRecorder()
		h.ServeHTTP(answer, r)
		if answer.Code != row.status {
			t.Errorf("%s %s of %s from %q: %d, want %d", row.method, row.target, row.host, row.origin, answer.Code, row.status)
		}
	}
}

// TestNoServer checks the message when there is no server to connect to.
func TestNoServer(t *testing.T) {
	h := handler(t.Context(), nobody(), address)
	r := httptest.NewRequest("POST", "/clients", strings.NewReader(url.Values{"kind": {"idle"}}.Encode()))
	r.Host = address
	r.Header.Set("Origin", "http://"+address)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, r)
	if answer.Code != http.StatusConflict || !strings.Contains(answer.Body.String(), "start one again") {
		t.Errorf("%d %s", answer.Code, answer.Body)
	}
}

// TestEvents reads two events, the second after a new observation, and checks that the stream ends with the context.
func TestEvents(t *testing.T) {
	w := nobody()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.events(ctx, rw, r) }))
	defer s.Close()
	resp, err := http.Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	next := func() (s state, more bool) {
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				if err := json.Unmarshal([]byte(data), &s); err != nil {
					t.Fatal(err)
				}
				return s, true
			}
		}
		return s, false
	}
	if s, _ := next(); len(s.Stages) != 1 || s.Stages[0].Name != "one" {
		t.Errorf("the first event is %+v", s)
	}
	w.look()
	if s, _ := next(); len(s.Stages) != stageCount || s.Stages[3].Said != "it is a test" {
		t.Errorf("the second event is %+v", s)
	}
	cancel()
	if s, more := next(); more {
		t.Errorf("after the end of the context comes %+v", s)
	}
}

// TestOneStart checks that a server which is being started is not started a second time.
func TestOneStart(t *testing.T) {
	w := nobody()
	w.stages[1].state = "starting"
	if err := w.replace(t.Context(), 2, ""); err == nil || !strings.Contains(err.Error(), "wait for it") {
		t.Errorf("a second start: %v", err)
	}
}
