package main

import (
	"testing"

	"fourways.example/common/servertest"
)

// TestMain runs the tests, or the server if a test has started this binary as one.
func TestMain(m *testing.M) {
	servertest.Enter()
	servertest.Main(m, main)
}

// TestPitfalls plays the pitfalls that this stage avoids, against this server and against servers that have
// them. It is the first test because a failed pitfall says more about the cause than a failed case.
func TestPitfalls(t *testing.T) {
	servertest.RunPitfalls(t, servertest.Self(t, 1))
}

// TestConformance runs the cases of docs/spec.md. A case that this stage's technique cannot pass must fail.
func TestConformance(t *testing.T) {
	servertest.Run(t, servertest.Self(t, 1))
}

// TestTrials tests the server with many clients, with hostile clients, and with too few descriptors.
func TestTrials(t *testing.T) {
	servertest.RunTrials(t, servertest.Self(t, 1), servertest.Trials())
}
