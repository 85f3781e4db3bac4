import random

import pytest

from penstock.engines.polling.lanes import Generation, is_done, lane_of, restart, still_needed


def test_a_key_has_one_lane_and_the_keys_are_spread():
    lanes = [lane_of(b"key%d" % n, 10) for n in range(1000)]
    assert lanes == [lane_of(b"key%d" % n, 10) for n in range(1000)]
    assert all(60 < lanes.count(lane) < 140 for lane in range(10))
    assert {lane_of(b"key%d" % n, 1) for n in range(100)} == {0}


def test_new_lanes_that_all_stand_at_the_same_place_need_to_know_nothing():
    assert restart(["7", "7"], []) == ("7", [])
    assert restart([None, None], []) == (None, [])
    assert restart(["7", None], []) == (None, [Generation(["7", None])])


def test_a_generation_is_forgotten_once_every_lane_is_beyond_it():
    generation = Generation(["7", "3"])
    assert still_needed("6", [generation]) == [generation]
    assert still_needed("7", [generation]) == []


@pytest.mark.parametrize("seed", range(50))
def test_nothing_is_lost_or_done_twice_when_the_number_of_lanes_changes_again_and_again(seed):
    chance = random.Random(seed)
    records = [(number, b"k%d" % chance.randrange(20)) for number in range(1, 200)]
    begin, generations, done = None, [], []
    while len(done) < len(records):
        count = chance.randrange(1, 11)
        checkpoints = [begin] * count
        for lane in range(count):
            mine = [
                one
                for one in records
                if one[0] > int(begin or 0)
                and lane_of(one[1], count) == lane
                and not is_done(one[1], one[0], generations)
            ]
            taken = mine[: chance.randrange(8)]
            done += taken
            if taken:
                checkpoints[lane] = str(taken[-1][0])
            elif not mine:
                checkpoints[lane] = str(records[-1][0])
        begin, generations = restart(checkpoints, generations)
    assert sorted(done) == records
    for key in {key for _, key in records}:
        numbers = [number for number, one in done if one == key]
        assert numbers == sorted(numbers)
