package slow

import (
	"runtime"
	"testing"
)

// A fakeTest records whether Test skips it or fails it.
type fakeTest struct {
	testing.TB
	name            string
	skipped, failed bool
}

func (f *fakeTest) Helper()               {}
func (f *fakeTest) Name() string          { return f.name }
func (f *fakeTest) Skip(...any)           { f.skipped = true; runtime.Goexit() }
func (f *fakeTest) Fatalf(string, ...any) { f.failed = true; runtime.Goexit() }

// run calls Test as the first statement of a test.
func (f *fakeTest) run() (ran bool) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		Test(f)
		ran = true
	}()
	<-done
	return ran
}

// TestTest skips a slow test unless SLOW=1, and fails one that `make slow` would not select.
func TestTest(t *testing.T) {
	for _, tt := range []struct {
		name, env            string
		ran, skipped, failed bool
	}{
		{"TestSlowSweep", "", false, true, false},
		{"TestSlowSweep", "0", false, true, false},
		{"TestSlowSweep", "1", true, false, false},
		{"TestSweep", "", false, false, true},
		{"TestSweep", "1", false, false, true},
	} {
		t.Setenv(Env, tt.env)
		f := &fakeTest{TB: t, name: tt.name}
		if ran := f.run(); ran != tt.ran || f.skipped != tt.skipped || f.failed != tt.failed {
			t.Errorf("%s with %s=%s: ran %v, skipped %v, failed %v", tt.name, Env, tt.env, ran, f.skipped, f.failed)
		}
	}
}
