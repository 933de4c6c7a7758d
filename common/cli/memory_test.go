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
	if m.look() {
		t.Errorf("a heap of %d bytes is returned, and there is nothing to return", m.least)
	}
	const load = 32 << 20
	body := make([]byte, load)
	for i := range body {
		body[i] = 1
	}
	runtime.KeepAlive(body)
	full := m.heap()
	if full < load {
		t.Fatalf("the heap is %d bytes with %d bytes in it", full, load)
	}
	m.used = 0 // as after a request
	if !m.look() {
		t.Error("garbage is not returned")
	}
	if left := m.heap(); left > full-load*9/10 {
		t.Errorf("%d bytes are left of %d", left, full)
	}
}

// Where nothing ran nothing is free, or little: memory is returned now and then.
func TestMemoryWithoutLoad(t *testing.T) {
	body := make([]byte, 32<<20)
	m := newMemory()
	m.least = 0                          // a load came
	m.used = cpuTime() + 100*time.Minute // and does nothing
	for n := 1; n < quietTicks; n++ {
		if m.look() {
			t.Fatalf("returned at look %d, want %d", n, quietTicks)
		}
	}
	if !m.look() {
		t.Errorf("not returned at look %d", quietTicks)
	}
	runtime.KeepAlive(body)
}

func TestReturnMemoryEnds(t *testing.T) {
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
		t.Error("goes on after the stop")
	}
}
