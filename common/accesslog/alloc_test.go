//go:build !race

package accesslog_test

import (
	"io"
	"testing"
	"time"
)

// TestLogAllocatesNothing checks that a line needs no allocation, because each request logs
// one.
func TestLogAllocatesNothing(t *testing.T) {
	log, end := start(t, io.Discard)
	defer end()
	e := entry()
	if n := testing.AllocsPerRun(1000, func() {
		e.Time = e.Time.Add(time.Second / 3)
		log.Log(e)
	}); n > 0 {
		t.Errorf("%v allocations for a line", n)
	}
}
