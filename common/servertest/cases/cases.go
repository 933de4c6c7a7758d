// Package cases holds the cases of the conformance suite. There is a file for each subject of
// docs/spec.md, named like its section; a case belongs where the claim that it proves is:
//
//	Flags, Environment, Start            command_line.go, connection_limit.go
//	Time-outs                            time_outs.go
//	Stop                                 stop.go, listener_lost.go
//	Output                               output.go
//	Connections                          connections.go, connections_many.go
//	Closing                              closing.go
//	Refusals                             refusals.go
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
//
// To add a case, put it into the list that the file's function returns. A new function goes into the
// variable groups. Helpers of several files are in files named helper_….go; the messages of a
// failed case name the line in the case, not in such a helper.
package cases

import (
	"fourways.example/common/servertest/docroot"
	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/suite"
	"fourways.example/common/servertest/wire"
)

// The words that every case is written in.
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

// groups are all cases, by topic.
var groups = []func() []Case{
	cliCases, timeoutCases, stopCases, lostCases, outputCases,
	connectionCases, closeCases, refusalCases, lineCases, targetCases, fieldCases, methodCases,
	bodyCases, chunkCases, expectCases, responseCases,
	typeCases, nameCases, contentCases, rangeCases, conditionCases, fallbackCases,
	loginCases, tokenCases, privateCases, dataCases, manyCases,
}

// All are all cases of the suite.
func All() []Case {
	var all []Case
	for _, group := range groups {
		all = append(all, group()...)
	}
	return all
}
