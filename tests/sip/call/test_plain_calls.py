"""Calls between two phones and through trunks, decided by the call machine."""

from __future__ import annotations

import msgspec
import pytest
from support.calls import City, Driver, sdp

from sip.call import model
from sip.call.machine import CallMachine


def test_callee_is_offered_what_the_caller_offers_with_the_engines_address() -> None:
    drive = Driver().call("201")
    invite = drive.only(model.Invite)
    assert "m=audio 20002 RTP/AVP 9 8 0 101" in invite.sdp
    assert "c=IN IP4 127.0.0.1" in invite.sdp


def test_answer_connects_and_hangup_ends_both_legs_with_one_record() -> None:
    drive = Driver().call("201")
    leg = drive.rung("201")
    drive.tell(model.LegRinging(leg, 180))
    assert drive.only(model.Provisional).status == 180
    drive.tell(model.LegAnswered(leg, sdp(5000, "8 101")))
    accept = drive.only(model.Accept)
    assert "m=audio 20000 RTP/AVP 8 101" in accept.sdp
    assert drive.last(model.SetRemote).remote.port == 5000
    drive.wait(12).tell(model.LegEnded("a"))
    assert drive.only(model.Bye).leg == leg
    record = drive.record
    assert (record.ended_by, record.cause, record.talking) == ("caller", "completed", 12.0)
    assert [leg.role for leg in record.legs] == ["caller", "callee"]


def test_all_devices_ring_and_the_others_learn_that_it_was_answered_elsewhere() -> None:
    drive = Driver().call("202")
    assert {i.target.device for i in drive.all(model.Invite)} == {"202", "2021"}
    drive.tell(model.LegAnswered(drive.rung("2021"), sdp()))
    cancel = drive.only(model.Cancel)
    assert cancel.leg == drive.rung("202")
    assert cancel.answered_elsewhere


def test_an_answer_that_crosses_the_cancel_changes_nothing() -> None:
    drive = Driver().call("202")
    drive.tell(model.LegAnswered(drive.rung("2021"), sdp(5000)))
    drive.tell(model.LegAnswered(drive.rung("202"), sdp(6000)))
    assert drive.machine.call.b == drive.rung("2021")
    assert len(drive.all(model.Accept)) == 1


@pytest.mark.parametrize(
    ("statuses", "expected", "cause"),
    [
        ((486, 486), 486, "busy"),
        ((480, 486), 486, "busy"),
        ((503, 404), 404, "unknown-number"),
        ((503, 500), 480, "unreachable"),
    ],
)
def test_failures_are_combined_as_a_proxy_would(
    statuses: tuple[int, int], expected: int, cause: str
) -> None:
    drive = Driver().call("202")
    for user, status in zip(("202", "2021"), statuses, strict=True):
        drive.tell(model.LegFailed(drive.rung(user), status))
    assert drive.only(model.Reject).status == expected
    assert drive.record.cause == cause


def test_declined_stops_the_other_devices() -> None:
    drive = Driver().call("202")
    drive.tell(model.LegFailed(drive.rung("202"), 603))
    assert drive.only(model.Cancel).leg == drive.rung("2021")
    assert drive.only(model.Reject).status == 603
    assert drive.record.cause == "declined"


def test_no_answer_after_a_minute() -> None:
    drive = Driver().call("201").wait(61)
    assert drive.only(model.Cancel).leg == drive.rung("201")
    assert drive.only(model.Reject).status == 480
    assert drive.record.cause == "no-answer"


def test_nobody_registered() -> None:
    city = City()
    city.registered.clear()
    drive = Driver(city).call("201")
    assert drive.only(model.Reject).status == 480
    assert drive.record.cause == "unreachable"


def test_unknown_number_is_announced_as_early_media_and_then_404() -> None:
    drive = Driver().call("999")
    assert drive.only(model.Provisional).status == 183
    assert drive.only(model.Play).prompt == "unknown-number"
    drive.wait(4)
    assert drive.only(model.Reject).status == 404
    assert drive.record.cause == "unknown-number"


def test_caller_cancels_while_it_rings() -> None:
    drive = Driver().call("201")
    drive.tell(model.LegCancelled("a"))
    assert drive.only(model.Cancel).leg == drive.rung("201")
    assert not drive.all(model.Reject), "the core has answered 487 already"
    assert drive.record.cause == "cancelled"


def test_early_media_of_the_callee_reaches_the_caller() -> None:
    drive = Driver().call("201")
    leg = drive.rung("201")
    drive.tell(model.LegRinging(leg, 183, sdp(5000, "8")))
    assert drive.last(model.SetRemote) == model.SetRemote("b", drive.last(model.SetRemote).remote)
    assert "m=audio 20000" in drive.only(model.Provisional).sdp


def test_late_offer_is_answered_with_our_offer_and_the_ack_brings_the_answer() -> None:
    drive = Driver().call("201", offer=None)
    drive.tell(model.LegAnswered(drive.rung("201"), sdp(5000, "8 101")))
    assert "m=audio 20000 RTP/AVP 8 101" in drive.only(model.Accept).sdp
    drive.tell(model.LegConfirmed("a", sdp(4444, "8 101")))
    remote = drive.last(model.SetRemote)
    assert (remote.side, remote.remote.port) == ("a", 4444)


class TestHold:
    def connected(self) -> Driver:
        drive = Driver().call("201")
        return drive.tell(model.LegAnswered(drive.rung("201"), sdp(5000)))

    def test_hold_plays_music_to_the_other_side_only(self) -> None:
        drive = self.connected()
        drive.done.clear()
        drive.tell(model.LegReinvited("a", sdp(4000, direction="sendonly")))
        assert "a=recvonly" in drive.only(model.AcceptOffer).sdp
        assert drive.only(model.SetRemote) == model.SetRemote("a", None)
        assert drive.only(model.Play) == model.Play("b", "moh", "de", None)
        assert drive.only(model.Publish).view.state == "held"

    def test_resume_stops_it(self) -> None:
        drive = self.connected().tell(model.LegReinvited("a", sdp(4000, direction="sendonly")))
        drive.done.clear()
        drive.tell(model.LegReinvited("a", sdp(4006)))
        assert drive.only(model.SetRemote).remote.port == 4006
        assert drive.only(model.StopPlaying).side == "b"
        assert drive.only(model.Publish).view.state == "talking"

    def test_a_codec_that_was_not_agreed_is_refused_and_the_call_goes_on(self) -> None:
        drive = self.connected()
        drive.tell(model.LegReinvited("a", sdp(4000, "0 101")))
        drive.tell(model.LegReinvited("a", "v=0\r\nnonsense"))
        assert drive.machine.call.phase == "talking"

    def test_versions_of_our_descriptions_grow(self) -> None:
        drive = self.connected()
        drive.tell(model.LegReinvited("a", sdp(4000, direction="sendonly")))
        drive.tell(model.LegReinvited("a", sdp(4000)))
        versions = [
            int(do.sdp.split("o=")[1].split()[2])
            for do in drive.done
            if isinstance(do, model.Accept | model.AcceptOffer)
        ]
        assert versions == [1, 2, 3]


class TestTrunks:
    def test_next_trunk_is_tried_when_one_fails(self) -> None:
        drive = Driver().call("0030123456")
        first = drive.only(model.Invite)
        assert first.target.uri.startswith("sip:+4930123456@")
        drive.tell(model.LegFailed(first.leg, 503))
        second = drive.all(model.Invite)[1]
        drive.tell(model.LegAnswered(second.leg, sdp()))
        assert drive.machine.call.phase == "talking"
        assert drive.machine.call.direction == "outbound"

    def test_busy_abroad_is_no_reason_to_try_another_trunk(self) -> None:
        drive = Driver().call("0030123456")
        drive.tell(model.LegFailed(drive.only(model.Invite).leg, 486))
        assert drive.only(model.Reject).status == 486

    def test_no_trunk(self) -> None:
        city = City()
        city.trunks_up.clear()
        assert Driver(city).call("0030123456").only(model.Reject).status == 503

    @pytest.mark.parametrize("dialled", ["112", "110", "0112", "urn:service:sos"])
    @pytest.mark.parametrize("device", ["241", "300"])
    def test_emergency_calls_go_out_from_every_device_and_never_time_out(
        self, dialled: str, device: str
    ) -> None:
        drive = Driver().call(dialled, by=device)
        invite = drive.only(model.Invite)
        assert invite.emergency
        assert invite.target.trunk is not None
        drive.wait(3600)
        assert drive.machine.call.phase == "ringing"

    def test_a_desk_without_a_person_reaches_no_outside_number(self) -> None:
        assert Driver().call("0030123456", by="300").only(model.Reject).status == 403

    def test_a_call_from_outside_is_never_sent_out_again(self) -> None:
        drive = Driver().call("0030123456", outside=True)
        assert not drive.all(model.Invite)
        assert drive.wait(5).record.cause == "unknown-number"


class TestEngineLost:
    def test_both_phones_are_told_of_the_new_engine(self) -> None:
        drive = Driver().call("201")
        leg = drive.rung("201")
        drive.tell(model.LegAnswered(leg, sdp(5000)))
        drive.done.clear()
        drive.tell(model.EngineLost())
        opened = drive.only(model.OpenMedia)
        assert (opened.a.port, opened.b.port) == (4000, 5000)
        drive.media("media-2", 30000)
        offers = {do.leg: do.sdp for do in drive.all(model.Reinvite)}
        assert "m=audio 30000" in offers["a"]
        assert "m=audio 30002" in offers[leg]

    def test_it_waits_for_an_engine_and_ends_cleanly_without_one(self) -> None:
        drive = Driver().call("201")
        drive.tell(model.LegAnswered(drive.rung("201"), sdp(5000)))
        drive.tell(model.EngineLost())
        for _ in range(20):
            drive.tell(model.MediaFailed("no-engine"))
            drive.wait(0.25)
        drive.wait(1)
        assert len(drive.all(model.Bye)) == 2
        assert drive.record.cause == "media-lost"

    def test_a_phone_that_refuses_the_new_address_ends_the_call(self) -> None:
        drive = Driver().call("201")
        drive.tell(model.LegAnswered(drive.rung("201"), sdp(5000)))
        drive.tell(model.EngineLost()).media("media-2", 30000)
        drive.machine.call.legs["a"].generation = 0
        drive.tell(model.LegOfferFailed("a", 488))
        assert drive.record.cause == "media-lost"

    def test_while_ringing_the_answer_is_followed_by_the_new_address(self) -> None:
        drive = Driver().call("201")
        leg = drive.rung("201")
        drive.tell(model.EngineLost()).media("media-2", 30000)
        drive.tell(model.LegAnswered(leg, sdp(5000)))
        assert "m=audio 30000" in drive.only(model.Accept).sdp
        assert "m=audio 30002" in drive.only(model.Reinvite).sdp


class TestTakeover:
    def test_a_stored_call_goes_on(self) -> None:
        drive = Driver().call("201")
        leg = drive.rung("201")
        drive.tell(model.LegAnswered(leg, sdp(5000)))
        stored = msgspec.json.encode(drive.machine.call)
        after = Driver(drive.city)
        after.now = drive.now + 1
        after.machine = CallMachine(msgspec.json.decode(stored, type=model.Call), drive.city)
        after.tell(model.TakenOver())
        assert not after.all(model.Bye)
        after.tell(model.LegEnded(leg))
        assert after.only(model.Bye).leg == "a"
        assert after.record.cause == "completed"

    def test_a_call_that_only_rang_is_ended_and_the_caller_asked_to_try_again(self) -> None:
        drive = Driver().call("201")
        drive.tell(model.TakenOver())
        assert drive.only(model.Reject).retry_after
        assert drive.only(model.Cancel).leg == drive.rung("201")


class TestClickToDial:
    def test_own_phone_rings_first_then_the_number(self) -> None:
        drive = Driver().originate("201")
        own = drive.rung("241")
        drive.tell(model.LegAnswered(own, sdp(4000, "8 101")))
        callee = drive.rung("201")
        drive.tell(model.LegRinging(callee, 180))
        assert drive.only(model.Play).prompt == "ringback"
        drive.tell(model.LegAnswered(callee, sdp(5000, "8 101")))
        assert drive.machine.call.phase == "talking"
        assert not drive.all(model.Reinvite), "both use the same encoding already"

    def test_busy_is_explained(self) -> None:
        drive = Driver().originate("201")
        drive.tell(model.LegAnswered(drive.rung("241"), sdp(4000, "8 101")))
        drive.tell(model.LegFailed(drive.rung("201"), 486))
        assert drive.last(model.Play).prompt == "busy"
        drive.wait(5)
        assert drive.record.cause == "busy"

    def test_own_phone_is_not_answered(self) -> None:
        drive = Driver().originate("201").wait(61)
        assert drive.only(model.Cancel).leg == drive.rung("241")
        assert drive.record.cause == "no-answer"


def test_maximum_duration() -> None:
    drive = Driver().call("201")
    drive.tell(model.LegAnswered(drive.rung("201"), sdp())).wait(5 * 3600)
    assert drive.record.cause == "max-duration"
    assert len(drive.all(model.Bye)) == 2


def test_a_phone_that_fell_silent() -> None:
    drive = Driver().call("201")
    leg = drive.rung("201")
    drive.tell(model.LegAnswered(leg, sdp())).tell(model.LegEnded(leg, lost=True))
    assert (drive.record.ended_by, drive.record.cause) == ("system", "phone-lost")


def test_echo_sends_the_audio_back_to_itself() -> None:
    drive = Driver().call("199")
    remote = drive.last(model.SetRemote)
    assert (remote.side, remote.remote.port) == ("b", 20002)
