package servertest

import (
	"strings"
	"testing"

	"fourways.example/common/servertest/stages"
	"fourways.example/common/servertest/suite"
)

// TestStepCases checks what a list of a step does with the cases, and which lists are refused.
func TestStepCases(t *testing.T) {
	all := []suite.Case{{Name: "tier-a"}, {Name: "tier-b"}, {Name: "idle"}, {Name: "get", Fails: stages.In(1)}}
	chosen, err := stepCases("# a comment\n\nomit tier-*: no questions yet\nfails idle: no time-outs yet\n", all)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range chosen {
		if c.Fails.Has(4) {
			c.Name = "fails " + c.Name
		}
		got = append(got, c.Name)
	}
	if got := strings.Join(got, ", "); got != "fails idle, get" {
		t.Errorf("the cases are %s, want: fails idle, get", got)
	}
	for _, list := range []string{"fails idle", "fails idle:", "idle: no time-outs yet", "fails none: no such case", "omit x*: no such case"} {
		if _, err := stepCases(list+"\n", all); err == nil {
			t.Errorf("the list %q is accepted", list)
		}
	}
}
