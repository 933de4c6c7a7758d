package exercise

import (
	"go/format"
	"slices"
	"strings"
	"testing"
)

const toy = `// Package toy is cut.
package toy

import (
	"errors"
	"fmt"

	"example.com/os"
)

// F has a comment.
func F(n int) (err error) {
	// A comment in the body.
	if n > 0 {
		return fmt.Errorf("%d", n)
	}
	return errors.New("none")
} // after F

type list[T any] struct{ n int }

// Len is a method of a generic type.
func (l *list[T]) Len() int { return l.n }

func exit(fmt int) { os.Exit(fmt) }
`

const missing = "{\n\tpanic(\"missing\")\n}"

// TestCut cuts functions out, and types them in again.
func TestCut(t *testing.T) {
	for _, row := range []struct {
		names  []string
		pruned []string
	}{
		{[]string{"F"}, []string{"errors", "fmt"}},
		{[]string{"list.Len"}, nil},
		{[]string{"exit"}, []string{"example.com/os"}},
		{[]string{"exit", "F", "list.Len"}, []string{"errors", "fmt", "example.com/os"}},
	} {
		stub, pruned, err := cut([]byte(toy), row.names, missing)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(pruned, row.pruned) {
			t.Errorf("%v: pruned %q, want %q", row.names, pruned, row.pruned)
		}
		if nice, err := format.Source(stub); err != nil || string(nice) != string(stub) {
			t.Errorf("%v: gofmt would change the stub, %v:\n%s", row.names, err, stub)
		}
		if n := strings.Count(string(stub), missing); n != len(row.names) {
			t.Errorf("%v: %d panics, want %d:\n%s", row.names, n, len(row.names), stub)
		}
		if again, err := Restore(stub, []byte(toy), row.names); err != nil || string(again) != toy {
			t.Errorf("%v: restored, %v:\n%s", row.names, err, again)
		}
	}
}

// TestCutKeepsTheRest compares the stub with the text that a person would write.
func TestCutKeepsTheRest(t *testing.T) {
	want := strings.Replace(toy, "\t\"errors\"\n\t\"fmt\"\n\n", "", 1)
	from, to := strings.Index(want, "error) {")+7, strings.Index(want, " // after F")
	want = want[:from] + missing + want[to:]
	if got, _, err := cut([]byte(toy), []string{"F"}, missing); err != nil || string(got) != want {
		t.Errorf("got %v\n%s\nwant\n%s", err, got, want)
	}
}

// TestCutFails asks for a function that is not there.
func TestCutFails(t *testing.T) {
	if _, _, err := cut([]byte(toy), []string{"list.F"}, missing); err == nil || !strings.Contains(err.Error(), "list.F") {
		t.Errorf("got %v, want an error that names the function", err)
	}
}
