# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
kestrel_add_test(NAME sw_ref.thc_schemes SOURCES thc_schemes_test.cpp LIBS kestrel::sw_ref)

# The commands that print the figures of docs/thc_schemes.md.
add_test(NAME e2e.thc_figures.search COMMAND kestrel thc search --workers 15 --top 1)
set_tests_properties(
  e2e.thc_figures.search
  PROPERTIES PASS_REGULAR_EXPRESSION
             "g 17, .*NMSE 0\\.001814.*0 2 3 4 5 6 7 8 9 10 11 12 13 14 15 17.*error 73\\.2 % lower")
add_test(NAME e2e.thc_figures.search_refuses COMMAND kestrel thc search --workers 18)
set_tests_properties(
  e2e.thc_figures.search_refuses
  PROPERTIES PASS_REGULAR_EXPRESSION "18 workers leave 8-bit sums a granularity of 14")
add_test(NAME e2e.thc_figures.schemes COMMAND kestrel thc schemes --workers 2 --log2 10 --repeats 2
                                              --rounds 2)
set_tests_properties(
  e2e.thc_figures.schemes
  PROPERTIES PASS_REGULAR_EXPRESSION "none +4096 100.00%.*thc +516 .*yes.*eden +516 .*no")
set_tests_properties(e2e.thc_figures.search e2e.thc_figures.search_refuses
                     e2e.thc_figures.schemes PROPERTIES LABELS e2e TIMEOUT 60)
