package main

import (
	"testing"

	"fourways.example/common/servertest"
)

// TestMain makes the test binary a server, too, where a test starts it as one.
func TestMain(m *testing.M) {
	servertest.Enter()
	servertest.Main(m, main)
}

// TestPitfalls plays the pitfalls that this stage is free of, against this server and against servers that have
// them. It is the first test of the package: a failed pitfall says more about the cause than a failed case.
func TestPitfalls(t *testing.T) {
	servertest.RunPitfalls(t, servertest.Self(t, 4))
}

// TestConformance runs the cases of docs/spec.md. A case that this stage's technique cannot pass must fail.
func TestConformance(t *testing.T) {
	servertest.Run(t, servertest.Self(t, 4))
}

// TestTrials shows what many clients, hostile ones and a shortage do to it.
func TestTrials(t *testing.T) {
	servertest.RunTrials(t, servertest.Self(t, 4), servertest.Trials())
}

// TestFamilies starts it on machines with both families, one of them, and odd defaults.
func TestFamilies(t *testing.T) {
	servertest.RunFamilies(t, servertest.Self(t, 4))
}
