import pytest

from evaluators.compile.tiles import divisor_near, divisors, lanes_for, padded, tile_options


@pytest.mark.parametrize("channels", [1, 3, 10, 24, 40, 80, 144, 1000])
@pytest.mark.parametrize("size", [1, 4, 7, 8, 13, 32])
@pytest.mark.parametrize(("bits", "registers"), [(128, 16), (256, 16), (512, 32)])
def test_tiles_divide_the_image_and_fit_the_registers(channels: int, size: int, bits: int, registers: int) -> None:
    tile = tile_options(size, size, channels, bits, registers)[0]
    assert size % tile.rows == size % tile.columns == 0
    assert tile.rows * tile.columns * tile.vectors < registers
    assert tile.lanes * 32 <= bits


def test_wide_images_use_most_registers() -> None:
    tile = tile_options(32, 32, 64, 256, 16)[0]
    assert tile.rows * tile.columns * tile.vectors >= 8


def test_channels_are_padded_little() -> None:
    for channels in (24, 40, 80, 144):
        assert padded(channels, tile_options(16, 16, channels, 256, 16)[0].channels) == channels


def test_arithmetic() -> None:
    assert divisors(12, 100) == [1, 2, 3, 4, 6, 12]
    assert padded(10, 8) == 16
    assert lanes_for(3, 256) == 4
    assert lanes_for(5, 256) == 8
    assert divisor_near(13, 8) == 13
