// Package cases holds the cases of the conformance suite. Each section of docs/spec.md has a file
// here, and a case belongs in the file of the claim that it tests:
//
//	the first steps of a new server,
//	names and sizes at random            random.go
//	Flags, Environment, Start            command_line.go, connection_limit.go
//	Time-outs                            time_outs.go
//	Stop                                 stop.go, listener_lost.go
//	Output                               output.go
//	Connections                          connections.go
//	Closing, Refusals                    closing.go
//	Request line, Target, Host,
//	Field lines, Methods                 request_head.go
//	Bodies, Chunks, Expect               bodies.go
//	Responses                            responses.go
//	Content types, Names                 types_and_names.go
//	Content                              content.go
//	Ranges                               ranges.go
//	Conditions                           conditions.go
//	Fallback                             fallback.go
//	Login                                login.go
//	Tokens                               tokens.go
//	Private files                        private_files.go
//	Data                                 data.go
//	Notes                                notes.go
//	The other tier                       tier.go
//
// To add a case, append it to the list that the file's function returns. Add a new function to the
// variable groups. Helpers that several files share are in files named helper_….go. They call
// t.Helper, so that a failure message names the line of the case.
package cases

import (
	"fourways.example/common/servertest/docroot"
	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/suite"
	"fourways.example/common/servertest/wire"
)

// Short names for the types that most cases use.
type (
	Case        = suite.Case
	Client      = wire.Client
	Config      = process.Config
	DialOptions = process.DialOptions
	Program     = process.Program
	Response    = wire.Response
	Root        = docroot.Root
	Server      = process.Server
	T           = suite.T
)

// groups lists the functions that return cases, one for each subject.
var groups = []func() []Case{
	firstCases, cliCases, timeoutCases, stopCases, lostCases, outputCases,
	connectionCases, closeCases, refusalCases, lineCases, targetCases, fieldCases, methodCases,
	bodyCases, chunkCases, expectCases, responseCases,
	typeCases, nameCases, contentCases, rangeCases, conditionCases, fallbackCases,
	loginCases, tokenCases, privateCases, dataCases, noteCases, tierCases, manyCases, randomCases,
}

// All returns all cases of the suite.
func All() []Case {
	var all []Case
	for _, group := range groups {
		all = append(all, group()...)
	}
	return all
}
