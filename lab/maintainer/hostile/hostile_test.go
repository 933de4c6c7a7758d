package hostile

import (
	"errors"
	"testing"
	"time"
)

func TestLatencies(t *testing.T) {
	var l latencies
	if got := l.at(0.5); got != 0 {
		t.Errorf("without requests: %v, want 0", got)
	}
	for ms := 100; ms > 0; ms-- {
		l.took = append(l.took, time.Duration(ms)*time.Millisecond)
	}
	for q, want := range map[float64]time.Duration{0.001: 1, 0.5: 50, 0.99: 99, 1: 100} {
		if got := l.at(q); got != want*time.Millisecond {
			t.Errorf("at(%v) is %v, want %d ms", q, got, want)
		}
	}
}

// TestFailure checks that each kind of harm is an error.
func TestFailure(t *testing.T) {
	good := func() *result {
		return &result{files: [3]int{20, 5000, 20}, memory: [3]int64{4 << 20, 100 << 20, 9 << 20}}
	}
	if err := good().failure(); err != nil {
		t.Errorf("without harm: %v", err)
	}
	for name, spoil := range map[string]func(*result){
		"a failed request":  func(r *result) { r.normal.failed, r.normal.first = 1, errors.New("reset") },
		"an open file":      func(r *result) { r.files[2]++ },
		"memory that stays": func(r *result) { r.memory[2] = 11 << 20 },
	} {
		r := good()
		spoil(r)
		if r.failure() == nil {
			t.Errorf("%s is no error", name)
		}
	}
}
