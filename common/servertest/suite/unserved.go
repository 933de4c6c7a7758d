package suite

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"fourways.example/common/servertest/process"
)

// mostUnserved is how many cases in a row may leave a server that does not serve a fresh client. After so many,
// Run expects the same of all other cases, each of which would wait for seconds.
const mostUnserved = 5

// errUnserved is why Run does not try the rest of the cases.
var errUnserved = fmt.Errorf("after %d cases in a row a fresh client was not served", mostUnserved)

var anyStopped atomic.Bool

// Stopped reports whether a Run in this process has stopped because the server serves no fresh client. A test under
// load would only wait for such a server.
func Stopped() bool { return anyStopped.Load() }

// A breaker stops Run when the server serves nobody any more. Its zero value is ready. The cases of all groups
// count, in the order in which they end.
type breaker struct {
	mu      sync.Mutex
	row     int // how many cases in a row have left a server that does not serve a fresh client
	total   int // how many such cases there were, in a row or not
	open    bool
	servers map[*process.Server]bool // those that run
}

// patience is how long the next case waits for an answer; 0 means as long as usual. After two cases that left a
// server that does not serve a fresh client, longer waits would only delay the report.
func (b *breaker) patience() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.total < 2 {
		return 0
	}
	return process.Impatience
}

// stopped reports whether the rest of the cases is not tried.
func (b *breaker) stopped() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.open
}

// began registers a server that is killed when Run stops, so that no case waits for it any longer.
func (b *breaker) began(s *process.Server) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open {
		s.Kill()
		return
	}
	if b.servers == nil {
		b.servers = map[*process.Server]bool{}
	}
	b.servers[s] = true
}

// record counts a result, and reports whether Run stops with it.
func (b *breaker) record(r Result) bool {
	if r.Case.NoServer || r.Case.Ends || r.Outcome == NotHere || r.Outcome == Untried || r.Outcome == Skipped {
		return false // no fresh client was tried
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.Outcome == Failed && r.Silent {
		b.row++
		b.total++
	} else {
		b.row = 0
	}
	if b.open || b.row < mostUnserved {
		return false
	}
	b.open = true
	anyStopped.Store(true)
	for s := range b.servers {
		s.Kill()
	}
	return true
}
