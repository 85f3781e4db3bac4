from penstock.engines.polling.queue import Bounds, bounds_of, first_share, on_full, on_trouble


def grown(bounds, seconds):
    share = first_share(bounds, 0)
    for second in range(1, seconds + 1):
        share = on_full(share, bounds, second * 1000)
    return share.count


def test_five_batches_at_first_then_three_hundred_more_a_minute():
    assert first_share(bounds_of(None, None), 0).count == 5
    assert grown(bounds_of(None, None), 60) == 305
    assert grown(bounds_of(None, None), 600) == 1250


def test_the_maximum_concurrency_is_never_exceeded():
    assert grown(bounds_of(2, None), 600) == 2
    assert grown(bounds_of(1000, None), 600) == 1000


def test_provisioned_pollers_work_ten_batches_each_and_scale_faster():
    assert bounds_of(None, (2, 200)) == Bounds(20, 2000, 1000)
    assert grown(bounds_of(None, (2, 200)), 60) in (1019, 1020)


def test_trouble_halves_the_share_and_a_rest_begins_anew():
    bounds = bounds_of(None, None)
    share = on_trouble(first_share(bounds, 0), 0)
    assert share.count == 2
    assert on_trouble(on_trouble(share, 0), 0).count == 1
    busy = on_full(first_share(bounds, 0), Bounds(5, 1250, 300_000), 1000)
    assert busy.count > 1000
    assert on_full(busy, bounds, 61_000).count == 5


def test_time_without_a_backlog_does_not_count():
    bounds = bounds_of(None, None)
    assert on_full(first_share(bounds, 0), bounds, 50_000).count == 10
