package learn

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestTail reduces the output of go test.
func TestTail(t *testing.T) {
	var many strings.Builder
	many.WriteString("--- FAIL: TestMany (0.00s)\n")
	for i := range 30 {
		fmt.Fprintf(&many, "    a_test.go:1: row %d\n", i)
	}
	many.WriteString("FAIL\nFAIL\tmod/a\t0.1s\nFAIL\n")
	last := []string{"--- FAIL: TestMany (0.00s)"}
	for i := 30 - shown + 1; i < 30; i++ {
		last = append(last, fmt.Sprintf("    a_test.go:1: row %d", i))
	}
	for _, row := range []struct {
		name, in string
		want     []string
	}{
		{"compiler", "# mod/a\n/copy/a/a.go:3: bad\nFAIL\tmod/a [build failed]\nFAIL\n", []string{"# mod/a", "a/a.go:3: bad"}},
		{
			"panic", "--- FAIL: TestA (0.00s)\npanic: exercise one: why [recovered, repanicked]\n\ngoroutine 1 [running]:\ntesting.f()\n\t/go/testing.go:1 +0x2\nmod/a.F(0x1)\n\t/copy/a/a.go:46 +0x2\nmod/a.T()\n\t/copy/a/a_test.go:4 +0x3\nFAIL\tmod/a\t0.01s\n",
			[]string{"--- FAIL: TestA (0.00s)", "panic: exercise one: why", "  at a/a.go:46"},
		},
		{
			"time-out", "panic: test timed out after 30s\n\trunning tests:\n\t\tTestA (30s)\n\t\tTestA/row (30s)\n\t\tTestB (1s)\n\ngoroutine 1 [running]:\nmod/a.F(0x1)\n\t/copy/a/a.go:46 +0x2\nFAIL\tmod/a\t30.01s\n",
			[]string{"panic: test timed out after 30s", "  in TestA/row", "  in TestB", "  at a/a.go:46"},
		},
		{"many rows", many.String(), last},
		{"long row", strings.Repeat("x", 45) + "\n", []string{strings.Repeat("x", 40), "        xxxxx"}},
		{"words", strings.Repeat("word ", 9) + "\n", []string{strings.TrimSpace(strings.Repeat("word ", 8)), "        word"}},
		{"twice", "same\nsame\nother\n", []string{"same", "other"}},
	} {
		if got := tail(row.in, "/copy", 40, shown); !slices.Equal(got, row.want) {
			t.Errorf("%s: got %q, want %q", row.name, got, row.want)
		}
	}
}
