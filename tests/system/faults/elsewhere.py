"""
Tests that show a row of FAILURES.md and have other names than it, or stand in other places.

A row is often best shown where its cause is. They are not all that there are, but those whose
failure would mean that the row is not true.
"""

from collections.abc import Mapping

ALSO: Mapping[int, Mapping[str, tuple[str, ...]]] = {
    1: {
        "system/test_failover": ("test_with_every_target_gone_the_answer_says_when_to_come_back",),
    },
    4: {
        "gateway/upstream/test_tls": (
            "test_04_a_server_without_tls_is_never_spoken_to_without_it",
        ),
    },
    6: {
        "gateway/upstream/test_deadline": ("test_06_headers_trickle_under_the_same_deadline",),
    },
    10: {
        "gateway/upstream/test_connection": (
            "test_10_a_body_cut_at_any_offset_never_ends_silently",
        ),
    },
    17: {
        "gateway/upstream/test_connection": (
            "test_17_a_status_without_a_body_ends_at_its_headers",
        ),
    },
    20: {
        "system/test_failover": ("test_what_was_refused_is_tried_as_often_as_allowed",),
    },
    33: {
        "gateway/quarantine/test_case": (
            "test_a_request_that_kills_meets_no_more_than_two_backends",
        ),
        "gateway/quarantine/test_shared": (
            "test_a_kill_is_known_to_every_replica_as_soon_as_it_is_written",
        ),
    },
    34: {
        "gateway/health/test_return": (
            "test_no_herd_falls_upon_it_and_nobody_is_refused_for_its_sake",
        ),
    },
    36: {
        "gateway/pipeline/test_hang_up": (
            "test_a_hang_up_before_anyone_was_identified_leaves_a_record",
            "test_a_hang_up_between_two_rounds_is_charged_nothing_for_no_upstream_had_the_prompt",
        ),
    },
    37: {
        "system/test_hang_up": (
            "test_a_client_that_leaves_frees_the_upstream_within_100_ms",
            "test_a_provider_that_drains_is_read_to_its_end_and_its_usage_is_known",
        ),
    },
    38: {
        "system/test_hang_up": ("test_20_000_hang_ups_at_random_moments_leave_nothing_behind",),
        "gateway/pipeline/test_hang_up": (
            "test_a_hang_up_at_any_moment_leaves_one_record_and_nothing_else",
        ),
    },
    39: {
        "gateway/pipeline/test_hang_up": (
            "test_a_request_that_is_cancelled_while_it_is_settled_is_recorded_once",
            "test_a_second_hang_up_changes_nothing",
        ),
        "gateway/limits/test_redis": ("test_a_caller_that_leaves_while_settling_has_settled",),
    },
    46: {
        "gateway/inbound/test_parse": ("test_a_body_may_not_be_deeper_than_the_bound",),
        "gateway/inbound/test_openai": ("test_no_bytes_make_the_gateway_fail",),
    },
    49: {
        "gateway/server/test_framing": ("test_it_is_refused_and_the_connection_closed",),
    },
    51: {
        "gateway/config/test_checks": (
            "test_fallbacks_are_accepted_if_and_only_if_they_end_soon",
            "test_a_long_chain_of_fallbacks_is_told",
        ),
        "gateway/pipeline/test_fallbacks": ("test_no_more_than_five_models_are_tried",),
    },
    54: {
        "system/test_openai_sdk": ("test_an_unknown_and_a_forbidden_model_can_not_be_told_apart",),
        "gateway/pipeline/test_request": (
            "test_a_model_that_is_unknown_and_one_that_is_forbidden_are_told_alike",
        ),
    },
    58: {
        "system/test_health": ("test_until_it_has_reached_its_store_a_gateway_is_not_ready",),
        "gateway/test_app": ("test_a_store_that_is_not_there_keeps_nobody_from_starting",),
        "gateway/wiring/test_stores": ("test_a_database_that_comes_late_is_used_from_then_on",),
        "gateway/inbound/test_status": ("test_all_stores_must_have_been_met_though_not_at_once",),
    },
    59: {
        "system/test_outage": (
            "test_without_redis_every_plan_does_as_it_says_and_nothing_is_lost",
        ),
        "gateway/ledger/test_ledger": (
            "test_no_row_that_reached_the_journal_is_lost_or_doubled_by_sigkill",
        ),
    },
    60: {
        "system/test_outage": (
            "test_without_redis_every_plan_does_as_it_says_and_nothing_is_lost",
        ),
        "gateway/limits/test_redis": (
            "test_a_hanging_redis_costs_a_request_its_deadline_and_no_more",
            "test_after_a_few_failures_nobody_waits_for_redis",
        ),
        "gateway/test_redis": (
            "test_a_server_that_hangs_is_given_up_at_the_deadline_for_all_who_wait",
        ),
    },
    62: {
        "system/test_outage": (
            "test_without_redis_every_plan_does_as_it_says_and_nothing_is_lost",
        ),
        "gateway/test_redis": ("test_a_replica_is_left_for_a_new_connection",),
    },
    63: {
        "gateway/test_redis": ("test_a_script_that_the_server_has_forgotten_is_sent_whole",),
        "gateway/limits/test_redis": ("test_scripts_that_redis_has_forgotten_are_sent_again",),
        "proofs/test_race": (
            "test_no_limit_is_ever_passed_while_racers_scripts_and_the_store_are_killed",
        ),
    },
    64: {
        "gateway/limits/test_redis": (
            "test_a_store_that_is_full_admits_nothing_and_ends_what_it_has",
        ),
        "system/test_outage": (
            "test_without_redis_every_plan_does_as_it_says_and_nothing_is_lost",
        ),
    },
    65: {
        "gateway/limits/test_eviction": (
            "test_65_a_server_forgets_if_its_memory_is_bounded_and_its_policy_says_so",
        ),
        "gateway/wiring/test_eviction": (
            "test_65_it_starts_on_one_that_keeps_everything_is_away_or_is_none",
        ),
    },
    66: {
        "gateway/limits/test_scripts": (
            "test_without_a_clock_of_ours_redis_tells_the_time",
            "test_whoever_gives_up_a_clock_says_so",
        ),
        "gateway/limits/test_limiters": (
            "test_a_small_step_back_of_the_clock_opens_no_window",
            "test_a_clock_far_ahead_is_given_up_and_counted",
        ),
        "gateway/limits/test_limits_model": ("test_the_limiter_on_redis_agrees_with_the_model",),
    },
    67: {
        "system/test_outage": ("test_without_sql_requests_go_on_and_the_ledger_catches_up",),
        "gateway/access/test_stored_on_databases": (
            "test_a_database_that_is_killed_stops_nobody_for_five_minutes_and_is_missed_then",
        ),
        "gateway/admin/test_routers": (
            "test_without_its_database_administration_answers_503_and_not_500",
        ),
        "gateway/ledger/test_mover": (
            "test_rows_wait_in_redis_while_the_database_is_out_of_reach",
        ),
    },
    68: {
        "gateway/ledger/test_ledger": ("test_a_full_ledger_says_so_and_still_takes_rows",),
        "gateway/store/test_database": ("test_a_lock_is_waited_for_only_so_long",),
        "gateway/limits/test_redis": (
            "test_rows_that_nobody_fetches_stop_admission_before_one_is_lost",
        ),
    },
    69: {
        "gateway/telemetry/test_metrics": (
            "test_ten_thousand_made_up_names_create_no_series_and_fill_no_cache",
            "test_a_scrape_stays_below_two_thousand_lines_with_fifty_models",
        ),
        "system/test_observability": ("test_names_that_a_client_makes_up_create_no_series",),
    },
    70: {
        "gateway/telemetry/test_spans": (
            "test_a_bad_collector_costs_spans_that_are_counted_and_no_time",
            "test_every_span_is_exported_failed_or_dropped",
        ),
    },
    71: {
        "system/test_shutdown": (
            "test_before_it_stops_listening_the_gateway_says_that_it_is_not_ready",
            "test_when_the_time_to_drain_is_over_a_stream_ends_with_an_error",
            "test_what_was_reserved_is_free_for_the_next_gateway",
        ),
    },
    72: {
        "system/test_shutdown": ("test_a_second_signal_ends_streams_at_once",),
    },
    73: {
        "system/test_crash": (
            "test_what_a_killed_gateway_held_is_free_and_in_the_ledger_within_its_bounds",
        ),
        "gateway/ledger/test_exactly_once": (
            "test_a_dead_gateways_request_is_in_the_ledger_within_lease_and_sweep_and_move",
        ),
        "proofs/test_race": (
            "test_no_limit_is_ever_passed_while_racers_scripts_and_the_store_are_killed",
        ),
    },
    74: {
        "gateway/limits/test_leases": (
            "test_a_loop_that_stood_still_for_a_lease_tells_its_holders_before_it_asks",
        ),
        "gateway/pipeline/test_hang_up": (
            "test_a_place_that_was_lost_ends_the_request_that_held_it",
        ),
    },
    75: {
        "gateway/ledger/test_journal": (
            "test_a_file_that_can_not_grow_keeps_what_it_has_and_goes_on_afterwards",
            "test_a_place_where_no_file_can_be_is_refused_in_one_line",
        ),
        "gateway/ledger/test_keeper": (
            "test_a_full_disk_is_told_once_and_entries_wait_for_its_end",
        ),
        "gateway/ledger/test_ledger": (
            "test_a_journal_that_can_not_be_written_makes_the_ledger_full",
        ),
        "gateway/pipeline/test_account": ("test_while_the_ledger_is_full_nothing_is_admitted",),
    },
    78: {
        "gateway/wiring/test_reload": (
            "test_whatever_is_wrong_with_a_file_live_requests_succeed",
            "test_a_file_that_can_not_be_used_changes_nothing",
        ),
        "gateway/config/test_loader": ("test_a_mutated_file_is_a_configuration_or_a_config_error",),
        "system/test_reload": ("test_a_signal_takes_over_a_good_file_and_leaves_a_bad_one",),
        "system/test_commands": ("test_a_fault_in_the_configuration_is_told_with_file_and_line",),
        "system/test_workers": ("test_a_reload_reaches_all_workers_or_none",),
    },
    79: {
        "gateway/wiring/test_reload": (
            "test_a_thousand_reloads_under_load_fail_no_request",
            "test_a_stream_finishes_on_the_target_that_it_began_with",
        ),
        "gateway/pipeline/test_request": (
            "test_a_snapshot_is_kept_by_the_requests_that_began_with_it",
        ),
        "system/test_reload": ("test_reloads_under_load_fail_no_request_and_move_no_stream",),
    },
    80: {
        "gateway/wiring/test_source": (
            "test_half_of_a_file_is_never_taken_for_the_whole",
            "test_a_change_of_either_file_while_it_settles_is_waited_for",
            "test_a_file_that_never_rests_is_given_up",
        ),
    },
    81: {
        "gateway/wiring/test_administration": (
            "test_a_stream_of_a_key_that_is_disabled_ends_as_the_configuration_says",
        ),
        "gateway/access/test_stored_on_databases": (
            "test_a_revocation_holds_on_all_replicas_within_a_second",
        ),
        "gateway/access/test_revocations": ("test_an_outage_delays_a_revocation_and_loses_none",),
    },
    82: {
        "gateway/pipeline/test_account": (
            "test_a_request_holds_the_most_it_may_cost_and_is_charged_what_it_did",
            "test_a_budget_lowers_the_cap_of_a_request_that_names_none",
        ),
        "gateway/pipeline/test_events": (
            "test_a_stream_that_passes_its_cap_is_cut_before_the_event_that_does",
        ),
        "proofs/test_invariants": (
            "test_q2_budget_settled_and_reserved_are_within_it_at_every_admission",
        ),
    },
    83: {
        "system/test_race": ("test_a_budget_that_covers_so_many_requests_admits_exactly_those",),
        "system/test_limits_over_http": (
            "test_of_all_who_race_exactly_as_many_as_the_limit_are_admitted",
            "test_what_is_refused_consumes_nothing",
        ),
        "proofs/test_invariants": (
            "test_q4_all_or_nothing_a_refused_request_changes_no_counter",
            "test_q9_honest_retry_waiting_as_told_is_enough_and_less_is_not",
        ),
    },
    84: {
        "system/test_race": ("test_a_budget_that_covers_so_many_requests_admits_exactly_those",),
        "gateway/inbound/test_errors": ("test_openais_sdk_does_what_the_hints_say",),
    },
    85: {
        "gateway/admin/test_races": (
            "test_of_edits_of_one_version_one_is_made",
            "test_what_is_made_at_once_under_one_name_is_made_once",
        ),
        "gateway/admin/test_writes": ("test_each_change_leaves_exactly_one_audit_row",),
    },
    86: {
        "gateway/limits/test_windows": (
            "test_86_a_period_begins_at_midnight_in_utc_wherever_and_in_whatever_season_it_is",
            "test_a_period_ends_where_its_day_or_month_in_utc_does",
        ),
        "gateway/limits/test_scripts": ("test_the_scripts_know_the_calendar",),
        "gateway/pipeline/test_account": ("test_a_row_lies_in_the_period_that_was_charged",),
    },
    87: {
        "gateway/ledger/test_entry": (
            "test_an_entry_of_another_version_is_read_as_far_as_it_is_known",
        ),
        "gateway/idempotency/test_shelf": (
            "test_an_entry_of_another_version_is_an_answer_that_is_gone",
        ),
        "gateway/limits/test_keys": ("test_keys_are_named_as_documented",),
    },
    88: {
        "gateway/access/test_look_ups": (
            "test_a_thousand_who_ask_for_one_key_cause_one_look_up",
            "test_few_are_looked_up_at_once",
        ),
        "gateway/access/test_stored": (
            "test_when_all_keys_must_be_read_again_each_is_asked_for_once_and_four_at_a_time",
            "test_keys_that_came_together_are_not_read_again_together",
        ),
        "gateway/limits/test_limiters": (
            "test_many_at_once_ask_the_ledger_once_and_share_what_is_left",
        ),
    },
    89: {
        "gateway/queueing/test_queues": (
            "test_one_tenant_at_100_times_the_rate_leaves_the_others_within_1_2_of_their_p99",
        ),
        "gateway/queueing/test_turns": (
            "test_between_two_turns_of_one_tenant_every_other_that_waits_has_one",
        ),
    },
    90: {
        "gateway/telemetry/test_sink": (
            "test_a_stopped_reader_costs_lines_and_no_time",
            "test_every_line_is_either_written_or_counted",
        ),
    },
    91: {
        "system/test_observability": ("test_what_others_must_not_read_is_printed_nowhere",),
        "gateway/telemetry/test_log": ("test_an_exception_is_told_in_full_but_for_its_secrets",),
        "gateway/telemetry/test_redaction": (
            "test_no_part_of_a_secret_is_left_where_the_text_is_cut",
        ),
        "gateway/admin/test_secrets": ("test_a_holder_of_a_secret_does_not_show_it",),
    },
    92: {
        "gateway/telemetry/test_log": ("test_every_line_parses_whatever_its_fields_hold",),
    },
}
"""By row and file below tests/, which is named without its ending."""
