package cli

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestMemory(t *testing.T) {
	debug.FreeOSMemory() // what earlier tests have left behind
	debug.FreeOSMemory()
	m := newMemory()
	if m.check() {
		t.Errorf("memory of a heap of %d bytes was returned, but there was no load", m.least)
	}
	const load = 32 << 20
	body := make([]byte, load)
	for i := range body {
		body[i] = 1
	}
	runtime.KeepAlive(body)
	full := m.heap()
	if full < load {
		t.Fatalf("the heap is %d bytes, but %d bytes are allocated", full, load)
	}
	m.used = 0 // as after a request
	if !m.check() {
		t.Error("the garbage was not returned")
	}
	// Go may keep a few megabytes, depending on what ran before.
	if left := m.heap(); left > full-load/2 {
		t.Errorf("the heap is still %d bytes of %d", left, full)
	}
}

// TestMemoryWithoutLoad checks that memory is returned now and then even if the server was
// not busy.
func TestMemoryWithoutLoad(t *testing.T) {
	body := make([]byte, 32<<20)
	m := newMemory()
	m.least = 0                          // the heap has grown
	m.used = cpuTime() + 100*time.Minute // and no CPU time is used
	for n := 1; n < quietTicks; n++ {
		if m.check() {
			t.Fatalf("memory was returned at check %d, want %d", n, quietTicks)
		}
	}
	if !m.check() {
		t.Errorf("memory was not returned at check %d", quietTicks)
	}
	runtime.KeepAlive(body)
}

func TestReturnMemoryEndsWithTheStop(t *testing.T) {
	c, _, _ := config(t, stage1, nil)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.ReturnMemory()
	}()
	c.Stop.Begin()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("ReturnMemory goes on after the stop")
	}
}
