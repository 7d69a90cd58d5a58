from evaluators.compile.tiles import divisor_near, divisors, lanes_for, padded


def test_arithmetic() -> None:
    assert divisors(12, 100) == [1, 2, 3, 4, 6, 12]
    assert padded(10, 8) == 16
    assert lanes_for(3, 256) == 4
    assert lanes_for(5, 256) == 8
    assert divisor_near(13, 8) == 13
