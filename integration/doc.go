// Package integration tests the whole: holdfast's command line and its shims on
// real OCI runtimes, as a user meets them.
//
//	make integration                    everything; what is missing is installed first
//	make integration RUN=TestScenarios/runc/exit
//	go test -count=1 ./integration -run TestArrows     no root needed
//
// Always with -count=1: these tests run programs that the test cache knows
// nothing of. They need root. A missing runtime skips its tests, unless REQUIRE
// names it or CI is set; then it fails them.
//
// Each test has a world to itself (package harness), and at its end the harness
// looks for everything that should not be there any more.
package integration
