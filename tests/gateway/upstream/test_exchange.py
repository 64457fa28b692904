from gateway.contract.provider import UpstreamRequest
from gateway.upstream.exchange import Outgoing


def test_nothing_was_sent_before_a_transport_says_so():
    request = UpstreamRequest("http://up.example/v1", (), b"{}")
    outgoing = Outgoing(request, public=True, more=((b"a", b"b"),), connect_timeout=None)
    assert not outgoing.sent
    assert outgoing.request is request
    assert (outgoing.public, outgoing.more, outgoing.connect_timeout) == (
        True,
        ((b"a", b"b"),),
        None,
    )
